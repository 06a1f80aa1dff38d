"""Limits are learnt from answers and kept to before a request goes beyond them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import QuotaExceeded
from argo_mw.plugin import Left
from argo_mw.testing import FakeClock
from argo_mw_llm import LlmPlugin, chain, transport
from argo_mw_llm.providers.learnt_limits import LearntLimits, Need, limits_in
from argo_mw_sandbox import Quota, Sandbox, SandboxConfig

from .conftest import MODELS, OpenArgo

MODEL = "claude-sonnet-5-5"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox whose clock is this machine's: moments of its headers are by that clock."""
    async with Sandbox(SandboxConfig(now=datetime.now(UTC))) as running:
        yield running


ONE = Need(100, 50)


def learnt(clock: FakeClock, **headers: str) -> LearntLimits:
    limits = LearntLimits(clock)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    limits.learn("", MODEL, limits_in(httpx2.Headers(named).raw))
    return limits


def anthropic_headers(kind: str, limit: int, remaining: int, reset: str) -> dict[str, str]:
    names = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"anthropic_ratelimit_{kind}_{name}": str(value) for name, value in names.items()}


def test_nothing_is_waited_for_before_anything_was_told() -> None:
    limits = LearntLimits(FakeClock())
    assert not limits.told
    assert 0.0 == limits.wait("", MODEL, ONE)


def test_what_is_left_is_said_of_the_model_that_has_the_least_and_of_no_other_account() -> None:
    clock = FakeClock(wall=1_700_000_000.0)
    reset = "2023-11-14T22:14:20Z"
    limits = learnt(clock, **anthropic_headers("requests", 60, 30, reset))
    for account, model, left in (("", "claude-haiku-5-5", 6), ("digest", MODEL, 1)):
        headers = anthropic_headers("requests", 60, left, reset)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        limits.learn(account, model, limits_in(httpx2.Headers(named).raw))
    assert ({"requests": Left(6.0, 60.0)}, False) == limits.standing()
    limits.block("", 10.0)
    assert limits.standing()[1]


def test_requests_that_are_used_up_come_back_one_by_one() -> None:
    """Anthropic and OpenAI refill steadily: ``reset`` is when all of a limit is there again."""
    clock = FakeClock(wall=1_700_000_000.0)
    limits = learnt(clock, **anthropic_headers("requests", 60, 0, "2023-11-14T22:14:20Z"))
    assert 1.0 == pytest.approx(limits.wait("", MODEL, ONE))
    assert 0.0 == limits.wait("", "claude-haiku-5-5", ONE)
    assert 0.0 == limits.wait("another account", MODEL, ONE)


async def test_time_refills_a_limit() -> None:
    clock = FakeClock(wall=1_700_000_000.0)
    limits = learnt(clock, **anthropic_headers("requests", 60, 0, "2023-11-14T22:14:20Z"))
    await clock.advance(1.01)
    assert 0.0 == limits.wait("", MODEL, ONE)
    limits.take("", MODEL, ONE)
    assert limits.wait("", MODEL, ONE) > 0.5
    limits.give_back("", MODEL, ONE)
    assert 0.0 == limits.wait("", MODEL, ONE)


@pytest.mark.parametrize(
    ("kind", "need", "waits"),
    [
        ("input-tokens", Need(1_000, 0), True),
        ("input-tokens", Need(10, 10_000), False),
        ("output-tokens", Need(10, 1_000), True),
        ("tokens", Need(60, 60), True),
        ("tokens", Need(40, 40), False),
    ],
)
def test_tokens_are_limits_too(kind: str, need: Need, waits: bool) -> None:
    clock = FakeClock(wall=1_700_000_000.0)
    limits = learnt(clock, **anthropic_headers(kind, 10_000, 100, "2023-11-14T22:14:20Z"))
    assert waits == (limits.wait("", MODEL, need) > 0.0)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("45", 45.0)],
)
def test_the_times_of_openai_are_read(reset: str, seconds: float) -> None:
    limits = learnt(
        FakeClock(),
        x_ratelimit_limit_requests="1",
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests=reset,
    )
    assert seconds == pytest.approx(limits.wait("", MODEL, ONE))


@pytest.mark.parametrize("reset", ["1700000030", "1700000030000", "30"])
def test_a_window_opens_at_once(reset: str) -> None:
    clock = FakeClock(wall=1_700_000_000.0)
    limits = learnt(
        clock, x_ratelimit_limit="10", x_ratelimit_remaining="0", x_ratelimit_reset=reset
    )
    assert 30.0 == pytest.approx(limits.wait("", MODEL, ONE))


def test_moments_are_by_the_clock_of_the_provider() -> None:
    limits = learnt(
        FakeClock(wall=0.0),
        date="Tue, 14 Nov 2023 22:13:20 GMT",
        **anthropic_headers("requests", 1, 0, "2023-11-14T22:14:20Z"),
    )
    assert 60.0 == pytest.approx(limits.wait("", MODEL, ONE))


VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(VALUES, VALUES, VALUES)
def test_headers_that_say_nothing_limit_nothing_for_ever(
    limit: str, remaining: str, reset: str
) -> None:
    limits = learnt(
        FakeClock(wall=1_700_000_000.0),
        x_ratelimit_limit_requests=limit,
        x_ratelimit_remaining_requests=remaining,
        x_ratelimit_reset_requests=reset,
    )
    assert 0.0 <= limits.wait("", MODEL, ONE) <= 86_400.0


def test_a_request_that_is_larger_than_a_limit_waits_for_all_of_it() -> None:
    limits = learnt(
        FakeClock(),
        x_ratelimit_limit_tokens="100",
        x_ratelimit_remaining_tokens="100",
        x_ratelimit_reset_tokens="1s",
    )
    assert 0.0 == limits.wait("", MODEL, Need(10_000, 0))


@pytest.mark.parametrize("provider", ["claude", "openai"])
async def test_no_request_is_sent_into_a_429(
    provider: str, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_quota(provider, Quota(per_minute=2))
    async with open_argo(operations={"complete": {"upstreams": [provider]}}) as argo:
        for question in ("RSI 30?", "RSI 31?"):
            await argo.call("complete", messages=question)
        with pytest.raises(QuotaExceeded, match="its limit") as caught:
            await argo.call("complete", messages="RSI 32?")
    assert caught.value.retry_at is not None
    assert 2 == sandbox.counts_of(provider).requests


async def test_another_provider_is_asked_when_a_limit_is_used_up(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_quota("claude", Quota(per_minute=1))
    order = {"complete": {"upstreams": ["claude", "glm"]}}
    async with open_argo(operations=order) as argo:
        found = [await argo.outcome("complete", messages=f"RSI {n}?") for n in range(2)]
    assert ["claude", "glm"] == [one.upstream for one in found]
    assert {200} == set(sandbox.counts_of("claude").statuses)


async def test_an_sdk_s_answers_tell_limits_too(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    for provider in ("claude", "openai"):
        sandbox.set_quota(provider, Quota(per_minute=2))
    async with open_argo() as argo:
        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "openai"))
        url = sandbox.url("openai") + "/v1"
        async with (
            anthropic.AsyncAnthropic(
                api_key="k", base_url=sandbox.url("claude"), middleware=[chain(argo)]
            ) as messages,
            openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http) as responses,
        ):
            for number in range(2):
                ask: Any = [{"role": "user", "content": f"RSI {number}?"}]
                await messages.messages.create(model=MODEL, max_tokens=9, messages=ask)
                events = await responses.responses.create(
                    model=MODELS["openai"], input=f"RSI {number}?", stream=True
                )
                assert [event async for event in events]
            with pytest.raises((anthropic.APIStatusError, QuotaExceeded), match="its limit"):
                await messages.messages.create(model=MODEL, max_tokens=9, messages=[*ask, *ask])
            with pytest.raises(openai.RateLimitError, match="its limit"):
                await responses.responses.create(model=MODELS["openai"], input="RSI 9?")
    assert [2, 2] == [sandbox.counts_of(name).requests for name in ("claude", "openai")]


async def test_a_busy_provider_is_left_alone_for_as_long_as_it_asks(
    sandbox: Sandbox, open_argo: OpenArgo, plugin: LlmPlugin
) -> None:
    async with open_argo(operations={"complete": {"upstreams": ["claude"]}}) as argo:
        plugin.providers["claude"].limits.block("", 30.0)
        with pytest.raises(QuotaExceeded):
            await argo.call("complete", messages="RSI 30?")
    assert 0 == sandbox.counts_of("claude").requests
