"""GLM, DeepSeek and Qwen, through the openai SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from argo_mw_llm.answers import Completion, ToolCall, Usage
from argo_mw_llm.failures import ProviderFailed, from_status
from argo_mw_llm.off_loop import MANY_BYTES, off_loop
from argo_mw_llm.provider import Provider
from argo_mw_llm.request import ModelRequest, for_chat
from argo_mw_llm.streams import AnswerStream, Ending
from argo_mw_llm.usage import CHAT_STOPS, chat_counts, chat_usage, plain_counts

if TYPE_CHECKING:
    import openai


class Chat(Provider):
    """A provider with an OpenAI-compatible protocol."""

    _client: openai.AsyncOpenAI | None = None

    async def complete(self, request: ModelRequest) -> Completion:
        """Return the model's whole answer."""
        body: dict[str, Any] = for_chat(request, self.name)
        try:
            sdk = await self._sdk()
            raw = await sdk.chat.completions.with_raw_response.create(**body)
            many = len(raw.content) > MANY_BYTES
            return await off_loop(many, lambda: self._completion(request, raw.parse()))
        except Exception as error:
            raise self._ours(error) from error

    async def stream(self, request: ModelRequest) -> AnswerStream[str]:
        """Return the model's answer in pieces of text."""
        ending = Ending(request.model)
        body: dict[str, Any] = for_chat(request, self.name)
        try:
            sdk = await self._sdk()
            chunks = await sdk.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            )
        except Exception as error:
            raise self._ours(error) from error
        source = self._pieces(chunks, ending)
        return AnswerStream(source, self._context.tasks, ending, name=self.name)

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
            api_key=self._key(),
            base_url=self._own.url,
            max_retries=0,
            timeout=600.0,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks=self._hooks()),
        )

    async def _pieces(self, chunks: Any, ending: Ending) -> AsyncIterator[str]:
        try:
            async for chunk in chunks:
                ending.model = chunk.model or ending.model
                if chunk.usage is not None:
                    chat_counts(ending, plain_counts(chunk.usage))
                for choice in chunk.choices:
                    if choice.finish_reason:
                        stop = choice.finish_reason
                        ending.stop = CHAT_STOPS.get(stop, stop)
                    text = choice.delta.content
                    if text:
                        ending.parts.append(text)
                        ending.heard += len(text)
                        yield text
        except Exception as error:
            raise self._ours(error) from error
        finally:
            await chunks.close()

    def _completion(self, request: ModelRequest, answer: Any) -> Completion:
        if not getattr(answer, "choices", None):
            msg = "an answer without choices"
            raise ValueError(msg)
        choice = answer.choices[0]
        calls = tuple(
            ToolCall(call.id, call.function.name, call.function.arguments)
            for call in choice.message.tool_calls or ()
        )
        usage = chat_usage(plain_counts(answer.usage)) or Usage(
            input=request.rough, output=len(choice.message.content or "") // 4, estimated=True
        )
        stop = CHAT_STOPS.get(choice.finish_reason, str(choice.finish_reason))
        return Completion(choice.message.content or "", answer.model, stop, usage, calls)

    def _ours(self, error: Exception) -> ProviderFailed:
        import openai

        if isinstance(error, ProviderFailed):
            return error
        if isinstance(error, openai.APIStatusError):
            return from_status(self.name, error.status_code, error.body, error.response.headers)
        return self._broken_off(error)


class Glm(Chat):
    """Z.ai's models."""

    name = "glm"
    variables = ("ZAI_API_KEY", "ZHIPUAI_API_KEY")
    prefixes = ("glm-",)


class DeepSeek(Chat):
    """DeepSeek's models."""

    name = "deepseek"
    variables = ("DEEPSEEK_API_KEY",)
    prefixes = ("deepseek-",)


class Qwen(Chat):
    """Alibaba's models."""

    name = "qwen"
    variables = ("DASHSCOPE_API_KEY",)
    prefixes = ("qwen", "qwq")
