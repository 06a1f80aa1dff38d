"""What errors of the providers lead to, through their real SDKs over real sockets."""

from __future__ import annotations

import pytest

from argo_mw import (
    Action,
    AllUpstreamsFailed,
    ArgoError,
    DeadlineExceeded,
    InvalidAnswer,
    UpstreamError,
)
from argo_mw_sandbox import Fault, Sandbox

from .conftest import MODELS, OpenArgo

STOP, SWITCH, RETRY = Action.STOP, Action.SWITCH, Action.RETRY

BODIES = {
    "claude": {
        "unauthorized": SWITCH,
        "bad_request": STOP,
        "no_credit": SWITCH,
        "billing": SWITCH,
        "forbidden": SWITCH,
        "not_found": SWITCH,
        "too_large": STOP,
        "rate_limit": RETRY,
        "server_error": RETRY,
        "timeout": RETRY,
        "overloaded": RETRY,
        "garbage": SWITCH,
    },
    "deepseek": {
        "unauthorized": SWITCH,
        "bad_request": STOP,
        "no_model": SWITCH,
        "no_balance": SWITCH,
        "unprocessable": STOP,
        "rate_limit": RETRY,
        "server_error": RETRY,
        "overloaded": RETRY,
        "garbage": SWITCH,
    },
    "qwen": {
        "unauthorized": SWITCH,
        "bad_request": STOP,
        "no_model": SWITCH,
        "rate_limit": RETRY,
        "token_limit": RETRY,
        "insufficient_quota": SWITCH,
        "arrears": SWITCH,
        "inspection": SWITCH,
        "server_error": RETRY,
        "overloaded": RETRY,
        "garbage": SWITCH,
    },
    "glm": {
        "unauthorized": SWITCH,
        "bad_request": STOP,
        "no_model": SWITCH,
        "content_filter": SWITCH,
        "rate_limit": RETRY,
        "frequency": RETRY,
        "daily_limit": SWITCH,
        "overloaded": RETRY,
        "arrears": SWITCH,
        "weekly_quota": SWITCH,
        "server_error": RETRY,
        "garbage": SWITCH,
    },
    "openai": {
        "unauthorized": SWITCH,
        "bad_request": STOP,
        "no_model": SWITCH,
        "rate_limit": RETRY,
        "insufficient_quota": SWITCH,
        "server_error": RETRY,
        "overloaded": RETRY,
        "garbage": SWITCH,
    },
}
CASES = [(name, body, action) for name, bodies in BODIES.items() for body, action in bodies.items()]


@pytest.mark.parametrize(("provider", "body", "action"), CASES)
async def test_every_error_body_ends_in_the_right_action(
    provider: str, body: str, action: Action, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault(provider, Fault(body))
    async with open_argo(upstreams={provider: {"retries": 0}}) as argo:
        with pytest.raises(ArgoError) as caught:
            await argo.call("complete", messages="RSI 30?", model=MODELS[provider])
    error = caught.value
    if isinstance(error, AllUpstreamsFailed):
        error = next(c for c in error.causes if f"upstream {provider!r}" in str(c))
    assert isinstance(error, UpstreamError)
    assert action is error.action
    assert sandbox.counts_of(provider).requests == 1


@pytest.mark.parametrize("provider", ["claude", "deepseek", "glm", "qwen", "openai"])
async def test_an_error_in_a_stream_is_no_answer(
    provider: str, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault(provider, Fault("stream_error"))
    async with open_argo(upstreams={provider: {"retries": 0}}) as argo:
        with pytest.raises(ArgoError):
            await argo.call("complete", messages="RSI 30?", model=MODELS[provider], stream=True)


@pytest.mark.parametrize("body", ["empty", "refusal"])
async def test_an_answer_without_content_is_none(
    body: str, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault("glm", Fault(body))
    async with open_argo(operations={"complete": {"upstreams": ["glm"]}}) as argo:
        with pytest.raises(InvalidAnswer):
            await argo.call("complete", messages="RSI 30?")


async def test_an_error_that_passes_is_asked_again(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    sandbox.set_fault("deepseek", Fault("overloaded", times=1))
    async with open_argo(operations={"complete": {"upstreams": ["deepseek"]}}) as argo:
        outcome = await argo.outcome("complete", messages="RSI 30?")
    assert [attempt.status for attempt in outcome.attempts] == ["failed", "ok"]


async def test_another_provider_answers_when_one_has_no_money(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    sandbox.set_fault("glm", Fault("arrears"))
    async with open_argo() as argo:
        outcome = await argo.outcome("complete", messages="RSI 30?")
    assert outcome.upstream == "deepseek"
    assert sandbox.counts_of("glm").requests == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_keep_alive_lines_do_not_defeat_the_deadline(
    stream: bool, sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    """DeepSeek sends blank lines while it is busy, so that no read timeout ever fires."""
    sandbox.set_fault("deepseek", Fault("keepalive", hold=30.0, pace=0.02))
    async with open_argo(operations={"complete": {"upstreams": ["deepseek"]}}) as argo:
        # On a busy machine the deadline may come before the request has left.
        while not sandbox.counts_of("deepseek").requests:
            with pytest.raises(DeadlineExceeded):
                await argo.options(timeout=0.3).call("complete", messages="RSI 30?", stream=stream)
    await sandbox.idle()
    counts = sandbox.counts_of("deepseek")
    assert counts.disconnects == counts.requests


async def test_no_key_is_no_request(sandbox: Sandbox, open_argo: OpenArgo) -> None:
    async with open_argo(
        glm={"key": None}, operations={"complete": {"upstreams": ["glm"]}}
    ) as argo:
        with pytest.raises(UpstreamError, match="ZAI_API_KEY"):
            await argo.call("complete", messages="RSI 30?")
    assert sandbox.counts_of("glm").requests == 0
