"""Providers that are asked over the wire ``responses``, through the openai SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from argo_mw_llm.answers import Completion, ToolCall, Usage
from argo_mw_llm.bodies.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.bodies.streams import AnswerStream, Ending
from argo_mw_llm.costs.usage import parse
from argo_mw_llm.providers.openai_sdk import OpenAiProvider
from argo_mw_llm.providers.request import ModelRequest, for_responses
from argo_mw_llm.providers.words import text_of, word
from argo_mw_llm.wires import RESPONSES
from argo_mw_llm.wires.wire import mappings


class ResponsesProvider(OpenAiProvider):
    """A provider with OpenAI's responses."""

    async def complete(self, request: ModelRequest) -> Completion:
        """Return the model's whole answer."""
        body: dict[str, Any] = for_responses(request)
        try:
            sdk = await self._sdk()
            raw = await sdk.responses.with_raw_response.create(**body)
            self._heard(request.model, raw.headers)
            return await off_loop(len(raw.content) > MANY_BYTES, _completion, request, raw.content)
        except Exception as error:
            raise self._ours(error, request.model) from error

    async def stream(self, request: ModelRequest) -> AnswerStream[str]:
        """Return the model's answer in pieces of text."""
        ending = Ending(request.model)
        body: dict[str, Any] = for_responses(request)
        try:
            sdk = await self._sdk()
            events = await sdk.responses.create(**body, stream=True)
            self._heard(request.model, events.response.headers)
        except Exception as error:
            raise self._ours(error, request.model) from error
        source = self._pieces(events, ending)
        return AnswerStream(source, self._context.tasks, ending, name=self.name)

    async def _pieces(self, events: Any, ending: Ending) -> AsyncIterator[str]:
        try:
            async for event in events:
                if event.type == "response.output_text.delta":
                    text = text_of(event.delta)
                    ending.parts.append(text)
                    ending.heard += len(text)
                    yield text
                elif event.type.startswith("response.") and hasattr(event, "response"):
                    RESPONSES.read_event(event.to_dict(), ending)
        except Exception as error:
            raise self._ours(error, ending.model) from error
        finally:
            await events.close()


def _completion(request: ModelRequest, content: bytes) -> Completion:
    answer = parse(content)
    if not isinstance(answer, dict) or not isinstance(answer.get("output"), list):
        msg = "an answer without an output"
        raise ValueError(msg)  # noqa: TRY004 - the provider's doing, not the caller's
    read = RESPONSES.read(answer, content)
    items = mappings(answer["output"])
    parts = [part for item in items for part in mappings(item.get("content"))]
    text = "".join(text_of(part["text"]) for part in parts if part.get("type") == "output_text")
    calls = tuple(_call(item) for item in items if item.get("type") == "function_call")
    usage = read.usage or Usage(input=request.rough, output=len(text) // 4, estimated=True)
    return Completion(text, read.model or request.model, read.stop, usage, calls)


def _call(item: Mapping[str, object]) -> ToolCall:
    return ToolCall(word(item["call_id"]), word(item["name"]), text_of(item["arguments"]))
