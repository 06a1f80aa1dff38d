"""Calls among faults: each ends, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from argo_mw import AllUpstreamsFailed, Argo, DeadlineExceeded, Outcome, Refusal, UpstreamError
from argo_mw_market import MarketPlugin
from argo_mw_sandbox import Fault, Sandbox, SandboxConfig

VENDORS = ("alpaca", "massive", "alphavantage")
MIXED = {
    "alpaca": ("server_error", "garbage", "empty", "unavailable", "sip", "reset", "cut", "trickle"),
    "massive": ("in_body_error", "garbage", "not_found", "not_authorized", "stale", "stall"),
    "alphavantage": ("premium", "error_message", "garbage", "empty", "keepalive", "reset"),
}
SHARE = 0.1


def config(sandbox: Sandbox) -> dict[str, object]:
    keys = {"alpaca": {"secret": "s"}, "alphavantage": {"paid": True}}
    return {
        "argo": {"shared": "memory://", "strict": True},
        "upstreams": {
            vendor: {"per_second": 0, "per_minute": 0, "per_day": 1_000_000, "timeout": 5.0}
            for vendor in VENDORS
        },
        "plugins": {
            "market": {v: {"url": sandbox.url(v), "key": "k", **keys.get(v, {})} for v in VENDORS}
        },
    }


def files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


async def ask_among_faults(calls: int, seed: int) -> tuple[int, int]:
    """How many of *calls* were answered, and how many ended in one error with every cause."""
    before = files()
    answered = failed = 0
    async with Sandbox(SandboxConfig(speed=0, seed=seed)) as sandbox:
        symbols = [str(s["symbol"]) for s in sandbox.symbols()]
        for vendor, faults in MIXED.items():
            for fault in faults:
                sandbox.set_fault(vendor, Fault(fault, share=SHARE / len(faults), pace=0.01))
        rng = random.Random(seed)
        plugins = {"market": MarketPlugin()}
        argo = Argo.open(config(sandbox), plugins=plugins, installed=False, clock=sandbox.clock)
        async with argo:
            places = asyncio.Semaphore(64)

            async def one() -> Outcome | Exception:
                async with places:
                    try:
                        return await argo.options(timeout=60.0).outcome(
                            "bars", symbol=rng.choice(symbols), days=rng.choice((30, 60, 90))
                        )
                    except (UpstreamError, AllUpstreamsFailed, DeadlineExceeded, Refusal) as error:
                        return error

            for answer in await asyncio.gather(*(one() for _ in range(calls))):
                if isinstance(answer, Outcome):
                    answered += 1
                    continue
                failed += 1
                if isinstance(answer, AllUpstreamsFailed):
                    assert all(str(cause) in str(answer) for cause in answer.causes)
                    assert len(answer.causes) == len(VENDORS)
        async with asyncio.timeout(60):
            await sandbox.idle()
    assert [] == [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    assert files() <= before
    return answered, failed


async def test_every_call_among_faults_ends_and_leaves_nothing_behind() -> None:
    answered, failed = await ask_among_faults(300, seed=7)
    assert 300 == answered + failed
    assert answered > 280


@pytest.mark.soak
async def test_ten_thousand_calls_among_faults_end_and_leave_nothing_behind() -> None:
    answered, failed = await ask_among_faults(10_000, seed=11)
    assert 10_000 == answered + failed
    assert answered > 9_900


@pytest.mark.parametrize(
    "fault", ["stall", "trickle", "keepalive", "server_error", "reset", "outage"]
)
async def test_the_deadline_holds_whatever_the_vendors_do(
    sandbox, open_argo, ends_on_time, fault: str
) -> None:
    for vendor in VENDORS:
        sandbox.set_fault(vendor, Fault(fault, pace=0.01))
    async with open_argo() as argo:

        async def ask() -> None:
            with pytest.raises((DeadlineExceeded, AllUpstreamsFailed)):
                await argo.options(timeout=1.0).call("bars", symbol="AAPL")

        await ends_on_time(ask, 1.0)
