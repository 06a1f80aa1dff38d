"""Providers that are asked over the wire ``chat``, through the openai SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from argo_mw_llm.answers import Completion, ToolCall, Usage
from argo_mw_llm.bodies.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.bodies.streams import AnswerStream, Ending
from argo_mw_llm.costs.usage import plain_counts
from argo_mw_llm.providers.openai_sdk import OpenAiProvider
from argo_mw_llm.providers.request import ModelRequest, for_chat
from argo_mw_llm.providers.words import text_of, word
from argo_mw_llm.wires import chat


class ChatProvider(OpenAiProvider):
    """A provider with OpenAI's chat completions."""

    async def complete(self, request: ModelRequest) -> Completion:
        """Return the model's whole answer."""
        body: dict[str, Any] = for_chat(request, self.profile)
        try:
            sdk = await self._sdk()
            raw = await sdk.chat.completions.with_raw_response.create(**body)
            self._heard(request.model, raw.headers)
            many = len(raw.content) > MANY_BYTES
            return await off_loop(many, lambda: self._completion(request, raw.parse()))
        except Exception as error:
            raise self._ours(error, request.model) from error

    async def stream(self, request: ModelRequest) -> AnswerStream[str]:
        """Return the model's answer in pieces of text."""
        ending = Ending(request.model)
        body: dict[str, Any] = for_chat(request, self.profile)
        try:
            sdk = await self._sdk()
            chunks = await sdk.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            )
            self._heard(request.model, chunks.response.headers)
        except Exception as error:
            raise self._ours(error, request.model) from error
        source = self._pieces(chunks, ending)
        return AnswerStream(source, self._context.tasks, ending, name=self.name)

    async def _pieces(self, chunks: Any, ending: Ending) -> AsyncIterator[str]:
        try:
            async for chunk in chunks:
                ending.model = word(chunk.model) or ending.model
                if chunk.usage is not None:
                    chat.count(ending, plain_counts(chunk.usage), _tier(chunk))
                for choice in chunk.choices:
                    if stop := word(choice.finish_reason):
                        ending.stop = chat.STOPS.get(stop, stop)
                    if choice.delta.content:
                        text = text_of(choice.delta.content)
                        ending.parts.append(text)
                        ending.heard += len(text)
                        yield text
        except Exception as error:
            raise self._ours(error, ending.model) from error
        finally:
            await chunks.close()

    def _completion(self, request: ModelRequest, answer: Any) -> Completion:
        if not getattr(answer, "choices", None):
            msg = "an answer without choices"
            raise ValueError(msg)
        choice = answer.choices[0]
        text = text_of(choice.message.content or "")
        calls = tuple(
            ToolCall(word(call.id), word(call.function.name), text_of(call.function.arguments))
            for call in choice.message.tool_calls or ()
        )
        usage = chat.usage_of(plain_counts(answer.usage), _tier(answer)) or Usage(
            input=request.rough, output=len(text) // 4, estimated=True
        )
        stop = word(choice.finish_reason) or "None"
        model = word(answer.model) or request.model
        return Completion(text, model, chat.STOPS.get(stop, stop), usage, calls)


def _tier(answer: Any) -> dict[str, object]:
    return {"service_tier": getattr(answer, "service_tier", None)}
