"""Providers that are asked over the wire ``anthropic``, through the anthropic SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from argo_mw_llm.answers import Completion, ToolCall, Usage
from argo_mw_llm.bodies.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.bodies.streams import AnswerStream, Ending
from argo_mw_llm.costs.usage import plain_counts
from argo_mw_llm.providers.failures import ProviderFailed
from argo_mw_llm.providers.provider import NO_KEY, Provider
from argo_mw_llm.providers.request import ModelRequest, for_messages
from argo_mw_llm.providers.words import text_of, word
from argo_mw_llm.wires import messages

if TYPE_CHECKING:
    import anthropic


class MessagesProvider(Provider):
    """A provider with Anthropic's protocol."""

    _client: anthropic.AsyncAnthropic | None = None

    async def complete(self, request: ModelRequest) -> Completion:
        """Return the model's whole answer."""
        body: dict[str, Any] = for_messages(request)
        try:
            sdk = await self._sdk()
            raw = await sdk.messages.with_raw_response.create(**body)
            self._heard(request.model, raw.headers)
            many = len(raw.http_response.content) > MANY_BYTES
            message = await (asyncio.to_thread(asyncio.run, raw.parse()) if many else raw.parse())
            return await off_loop(many, _completion, request, message)
        except Exception as error:
            raise self._ours(error, request.model) from error

    async def stream(self, request: ModelRequest) -> AnswerStream[str]:
        """Return the model's answer in pieces of text."""
        ending = Ending(request.model)
        body: dict[str, Any] = for_messages(request)
        try:
            sdk = await self._sdk()
            events = await sdk.messages.create(**body, stream=True)
            self._heard(request.model, events.response.headers)
        except Exception as error:
            raise self._ours(error, request.model) from error
        source = self._pieces(events, ending)
        return AnswerStream(source, self._context.tasks, ending, name=self.name)

    async def count(self, request: ModelRequest) -> int | None:
        """Return the prompt's tokens by the provider's own count."""
        wanted = ("model", "messages", "system", "tools", "tool_choice", "thinking")
        body: dict[str, Any] = {n: v for n, v in for_messages(request).items() if n in wanted}
        try:
            sdk = await self._sdk()
            return (await sdk.messages.count_tokens(**body)).input_tokens
        except Exception as error:
            raise self._ours(error, request.model) from error

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _sdk(self) -> anthropic.AsyncAnthropic:
        if self._client is not None:
            return self._client
        # In a thread, for importing it takes a second.
        return self._keep(await asyncio.to_thread(self._open))

    def _keep(self, opened: anthropic.AsyncAnthropic) -> anthropic.AsyncAnthropic:
        if self._client is None:  # no other call was faster
            self._client = opened
        return self._client

    def _open(self) -> anthropic.AsyncAnthropic:
        import anthropic

        # The chain handles retries and deadlines.
        return anthropic.AsyncAnthropic(
            api_key=self._key() or NO_KEY,
            base_url=self.profile.url,
            max_retries=0,
            timeout=600.0,
            http_client=anthropic.DefaultAsyncHttpxClient(event_hooks=self._hooks()),
        )

    async def _pieces(self, events: Any, ending: Ending) -> AsyncIterator[str]:
        try:
            async for event in events:
                if event.type == "content_block_delta":
                    if event.delta.type == "text_delta":
                        text = text_of(event.delta.text)
                        ending.parts.append(text)
                        ending.heard += len(text)
                        yield text
                elif event.type == "message_start":
                    ending.model = word(event.message.model) or ending.model
                    messages.begin(ending, plain_counts(event.message.usage))
                elif event.type == "message_delta":
                    messages.end(ending, plain_counts(event.usage), event.delta.stop_reason)
        except Exception as error:
            raise self._ours(error, ending.model) from error
        finally:
            await events.close()

    def _ours(self, error: Exception, model: str) -> ProviderFailed:
        import anthropic

        if isinstance(error, ProviderFailed):
            return error
        if isinstance(error, anthropic.APIStatusError):
            return self._from_status(model, error.status_code, error.body, error.response.headers)
        return self._broken_off(error)


def _completion(request: ModelRequest, message: Any) -> Completion:
    text = "".join([block.text for block in message.content if block.type == "text"])
    calls = tuple(
        ToolCall(word(block.id), word(block.name), json.dumps(block.input))
        for block in message.content
        if block.type == "tool_use"
    )
    stop = word(message.stop_reason) or "None"
    usage = messages.usage_of(plain_counts(message.usage)) or Usage(
        input=request.rough, output=len(text) // 4, estimated=True
    )
    model = word(message.model) or request.model
    return Completion(text, model, messages.STOPS.get(stop, stop), usage, calls)
