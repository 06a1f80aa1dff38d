"""Libraries gain the chain in ten lines: a second equal call costs no request and no token.

Each is skipped where it is not installed; ``make peers`` installs them in environments of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo, BlockingArgo
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import LlmPlugin, chain, instrument, transport
from argo_mw_sandbox import Sandbox, SandboxConfig, SandboxProcess

PROVIDERS = ("claude", "glm", "deepseek", "qwen")
CLAUDE, DEEPSEEK = "claude-sonnet-5-5", "deepseek-v4-pro"
PROMPT = "RSI 30, price 10?"
ASKED = [{"role": "user", "content": PROMPT}]
SCHEMA = {"type": "object", "properties": {"action": {"type": "string"}}}


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    for name in ("ANTHROPIC", "OPENAI", "DEEPSEEK"):
        monkeypatch.setenv(f"{name}_API_KEY", "any")
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")


def settings(url: Callable[[str], str]) -> dict[str, object]:
    return {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"llm": {name: {"url": url(name), "key": "any"} for name in PROVIDERS}},
        "upstreams": {name: {"per_minute": 1_000_000} for name in PROVIDERS},
    }


def plugins() -> dict[str, object]:
    return {"llm": LlmPlugin(), "cache": CachePlugin, "coalesce": coalesce}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxConfig()) as running:
        yield running


@pytest.fixture
async def argo(sandbox: Sandbox) -> AsyncIterator[Argo]:
    opened = Argo.open(settings(sandbox.url), plugins=plugins(), installed=False)
    async with opened as argo:
        yield argo


def openai_client(argo: Argo, sandbox: Sandbox) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "deepseek"))
    return openai.AsyncOpenAI(api_key="any", base_url=sandbox.url("deepseek"), http_client=http)


def claude_client(argo: Argo, sandbox: Sandbox) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        api_key="any", base_url=sandbox.url("claude"), middleware=[chain(argo)]
    )


@contextmanager
def one_request(sandbox: Sandbox, provider: str) -> Iterator[None]:
    """Check that the block, which asks everything twice, makes one request."""
    before = sandbox.counts_of(provider).requests
    yield
    assert 1 == sandbox.counts_of(provider).requests - before


# -- both SDKs -----------------------------------------------------------------------------------


async def test_openai(argo: Argo, sandbox: Sandbox) -> None:
    client = openai_client(argo, sandbox)
    with one_request(sandbox, "deepseek"):
        first, again = [
            await client.chat.completions.create(model=DEEPSEEK, messages=ASKED)  # type: ignore[arg-type,call-overload]
            for _ in range(2)
        ]
        assert first == again
    with one_request(sandbox, "deepseek"):
        for _ in range(2):
            stream = await client.chat.completions.create(
                model=DEEPSEEK,
                messages=ASKED,
                stream=True,  # type: ignore[arg-type,call-overload]
            )
            assert [chunk async for chunk in stream]
    await client.close()


async def test_anthropic(argo: Argo, sandbox: Sandbox) -> None:
    client = claude_client(argo, sandbox)
    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 50, "messages": ASKED}
    with one_request(sandbox, "claude"):
        first, again = [await client.messages.create(**asked) for _ in range(2)]
        assert first == again
    with one_request(sandbox, "claude"):
        for _ in range(2):
            async with client.messages.stream(**asked) as stream:
                assert (await stream.get_final_message()).content
    await client.close()


def test_synchronous_clients_of_both() -> None:
    with SandboxProcess(SandboxConfig()) as sandbox:
        opened = BlockingArgo(settings(sandbox.url), plugins=plugins(), installed=False)
        with opened as argo:
            http = openai.DefaultHttpxClient(transport=transport(argo, "deepseek"))
            one = openai.OpenAI(api_key="any", base_url=sandbox.url("deepseek"), http_client=http)
            other = anthropic.Anthropic(
                api_key="any", base_url=sandbox.url("claude"), middleware=[chain(argo)]
            )
            for _ in range(2):
                assert one.chat.completions.create(model=DEEPSEEK, messages=ASKED).choices  # type: ignore[arg-type,call-overload]
                assert other.messages.create(model=CLAUDE, max_tokens=50, messages=ASKED).content  # type: ignore[arg-type,call-overload]
            one.close()
            other.close()
        counts: Any = sandbox.counts()
    assert (1, 1) == (counts["deepseek"]["requests"], counts["claude"]["requests"])


# -- what is built on them -----------------------------------------------------------------------


def trade(action: str) -> str:
    """Trade.

    Args:
        action: What to do.
    """
    return action


async def twice(ask: Callable[[], Any]) -> None:
    first, again = await ask(), await ask()
    assert first
    assert first == again


async def test_langchain_openai(argo: Argo, sandbox: Sandbox) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")
    http = httpx2.AsyncClient(transport=transport(argo, "deepseek"))
    model = langchain_openai.ChatOpenAI(
        model=DEEPSEEK,
        api_key="any",
        base_url=sandbox.url("deepseek"),
        http_client=httpx2.Client(),
        http_async_client=http,
    )
    await check_langchain(model, sandbox, "deepseek")


async def test_langchain_anthropic(argo: Argo, sandbox: Sandbox) -> None:
    langchain_anthropic = pytest.importorskip("langchain_anthropic")
    end = instrument(argo)
    try:
        model = langchain_anthropic.ChatAnthropic(
            model=CLAUDE, api_key="any", base_url=sandbox.url("claude"), max_tokens=50
        )
        await check_langchain(model, sandbox, "claude")
    finally:
        end()


async def check_langchain(model: Any, sandbox: Sandbox, provider: str) -> None:
    with one_request(sandbox, provider):

        async def ask() -> str:
            return str((await model.ainvoke(PROMPT)).content)

        await twice(ask)
    with one_request(sandbox, provider):

        async def stream() -> str:
            return "".join([str(chunk.content) async for chunk in model.astream(PROMPT)])

        await twice(stream)
    called = await model.bind_tools([trade], tool_choice="any").ainvoke(PROMPT)
    assert ["trade"] == [call["name"] for call in called.tool_calls]


async def test_pydantic_ai(argo: Argo, sandbox: Sandbox) -> None:
    pytest.importorskip("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    chat = OpenAIProvider(openai_client=openai_client(argo, sandbox))
    own = AnthropicProvider(anthropic_client=claude_client(argo, sandbox))
    for provider, model in (
        ("deepseek", OpenAIChatModel(DEEPSEEK, provider=chat)),
        ("claude", AnthropicModel(CLAUDE, provider=own)),
    ):
        agent = Agent(model)
        with one_request(sandbox, provider):

            async def ask(agent: Any = agent) -> str:
                return str((await agent.run(PROMPT)).output)

            await twice(ask)
        with one_request(sandbox, provider):

            async def stream(agent: Any = agent) -> str:
                # Another question, since Claude's answer to the first has come as a stream too.
                async with agent.run_stream(f"{PROMPT} Now?") as result:
                    return "".join([text async for text in result.stream_text(delta=True)])

            await twice(stream)


async def test_openai_agents(argo: Argo, sandbox: Sandbox) -> None:
    agents = pytest.importorskip("agents")
    client = openai_client(argo, sandbox)
    model = agents.OpenAIChatCompletionsModel(model=DEEPSEEK, openai_client=client)
    agent = agents.Agent(name="trader", model=model)
    with one_request(sandbox, "deepseek"):

        async def ask() -> str:
            return str((await agents.Runner.run(agent, PROMPT)).final_output)

        await twice(ask)
    with one_request(sandbox, "deepseek"):

        async def stream() -> str:
            result = agents.Runner.run_streamed(agent, PROMPT)
            assert [event async for event in result.stream_events()]
            return str(result.final_output)

        await twice(stream)


async def test_litellm(argo: Argo, sandbox: Sandbox) -> None:
    litellm = pytest.importorskip("litellm")
    client = openai_client(argo, sandbox)

    async def ask(**more: Any) -> Any:
        return await litellm.acompletion(
            model=f"openai/{DEEPSEEK}", messages=ASKED, client=client, **more
        )

    with one_request(sandbox, "deepseek"):
        texts = [(await ask()).choices[0].message.content for _ in range(2)]
        assert texts[0] == texts[1]
    with one_request(sandbox, "deepseek"):
        for _ in range(2):
            assert [chunk async for chunk in await ask(stream=True)]


async def test_instructor(argo: Argo, sandbox: Sandbox) -> None:
    instructor = pytest.importorskip("instructor")
    from pydantic import BaseModel

    class Said(BaseModel):
        model_config = {"extra": "allow"}

    # As text: the calls of tools may have side effects, so that they are never replayed.
    client = instructor.from_openai(openai_client(argo, sandbox), mode=instructor.Mode.JSON)
    with one_request(sandbox, "deepseek"):
        for _ in range(2):
            said = await client.chat.completions.create(
                model=DEEPSEEK, messages=ASKED, response_model=Said, max_retries=0
            )
            assert isinstance(said, Said)


async def test_llm(argo: Argo, sandbox: Sandbox) -> None:
    pytest.importorskip("llm")
    from llm.default_plugins.openai_models import AsyncChat

    model = AsyncChat("deepseek", model_name=DEEPSEEK, api_base=sandbox.url("deepseek"))
    end = instrument(argo, openai="deepseek")
    try:
        await check_llm(model, sandbox, "deepseek")
    finally:
        end()


async def test_llm_anthropic(argo: Argo, sandbox: Sandbox) -> None:
    llm_anthropic = pytest.importorskip("llm_anthropic")
    model = llm_anthropic.AsyncClaudeMessages("claude", claude_model_id=CLAUDE)
    model.base_url = sandbox.url("claude")
    end = instrument(argo)
    try:
        await check_llm(model, sandbox, "claude")
    finally:
        end()


async def check_llm(model: Any, sandbox: Sandbox, provider: str) -> None:
    for streamed in (False, True):
        with one_request(sandbox, provider):

            async def ask(streamed: bool = streamed) -> str:
                # Some models stream whatever they are asked for.
                asked = f"{PROMPT} {streamed}"
                return str(await model.prompt(asked, key="any", stream=streamed).text())

            await twice(ask)
