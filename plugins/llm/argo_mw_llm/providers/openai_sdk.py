"""The base of providers that are asked through the openai SDK."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from argo_mw_llm.answers import Usage
from argo_mw_llm.bodies.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.costs.usage import plain_counts
from argo_mw_llm.providers.failures import ProviderFailed
from argo_mw_llm.providers.provider import NO_KEY, Provider
from argo_mw_llm.providers.words import word
from argo_mw_llm.wires import embeddings

if TYPE_CHECKING:
    import openai

Vectors = tuple[Sequence[tuple[float, ...]], str, Usage | None]
"""The vectors in the order of their texts, the model, and the tokens of all texts."""


class OpenAiProvider(Provider):
    """A provider that the openai SDK can ask."""

    _client: openai.AsyncOpenAI | None = None

    async def embed(self, texts: Sequence[str], model: str, dimensions: int) -> Vectors:
        """Return a vector for each of *texts*, from one request.

        Args:
            texts: The texts.
            model: The model.
            dimensions: The length of the vectors; 0 for the model's own.

        Raises:
            ProviderFailed: The provider did not answer.
        """
        body: dict[str, Any] = {"input": list(texts), "model": model}
        if dimensions:
            body["dimensions"] = dimensions
        try:
            sdk = await self._sdk()
            raw = await sdk.embeddings.with_raw_response.create(**body, encoding_format="float")
            self._heard(model, raw.headers)
            return await off_loop(len(raw.content) > MANY_BYTES, lambda: _vectors(raw.parse()))
        except Exception as error:
            raise self._ours(error, model) from error

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _sdk(self) -> openai.AsyncOpenAI:
        if self._client is not None:
            return self._client
        # In a thread, for importing it takes a second.
        return self._keep(await asyncio.to_thread(self._open))

    def _keep(self, opened: openai.AsyncOpenAI) -> openai.AsyncOpenAI:
        if self._client is None:  # no other call was faster
            self._client = opened
        return self._client

    def _open(self) -> openai.AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(
            api_key=self._key() or NO_KEY,
            base_url=self.profile.url,
            max_retries=0,
            timeout=600.0,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks=self._hooks()),
        )

    def _ours(self, error: Exception, model: str) -> ProviderFailed:
        import openai

        if isinstance(error, ProviderFailed):
            return error
        if isinstance(error, openai.APIStatusError):
            return self._from_status(model, error.status_code, error.body, error.response.headers)
        return self._broken_off(error)


def _vectors(answer: Any) -> Vectors:
    found = sorted(answer.data, key=lambda one: int(one.index))
    vectors = [tuple(map(float, one.embedding)) for one in found]
    if not all(all(map(math.isfinite, vector)) for vector in vectors):
        msg = "a vector with what is not a number"
        raise ValueError(msg)
    return vectors, word(answer.model), embeddings.usage_of(plain_counts(answer.usage))
