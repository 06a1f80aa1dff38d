"""A dry run says what a call would do, and leaves no trace."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argo_mw import Argo, ArgoError, Explained, Outcome, Refusal, UpstreamError
from argo_mw.plugin import Limits, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache import CachePlugin, entry
from argo_mw_race import plugin as race

_names = itertools.count()

ASKED: Mapping[str, Mapping[str, object]] = {
    "bars": {"symbol": "AAPL"},
    "signal": {"symbol": "AAPL"},
    "complete": {"messages": "What moves oil?"},
}
"""An operation of each kind, with parameters."""


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(entry.random, "random", lambda: 0.0)  # no early refresh


def opened(store: str, clock: FakeClock, upstream: Scripted) -> Argo:
    """Return one instance with a cache, a circuit breaker, and a quota of seven a minute."""
    table = {
        "argo": {"shared": store, "strict": True},
        "plugins": {"race": {"breaker": {"failure_threshold": 2, "window": 4, "cool_down": 20.0}}},
    }
    plugins = {
        "cache": CachePlugin,
        "race": race,
        "asked": FakePlugin(operations=[bars], upstreams=[upstream]),
    }
    return Argo.open(table, clock=clock, plugins=plugins, installed=False)


async def contents(argo: Argo) -> Mapping[str, bytes | None]:
    """Return all that the shared store holds, but for what its own probes leave there."""
    shared = context_of(argo).shared
    found = [*await shared.scan("argo"), *await shared.scan("tag:")]
    keys = sorted(key for key in found if not key.startswith("argo:probe:"))
    return dict(zip(keys, await shared.get_many(keys), strict=True))


def of(name: str, explained: list[Explained]) -> Explained:
    return next(one for one in explained if one.name == name)


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.booleans(), st.sampled_from("AB")),
    st.tuples(st.just("fail"), st.booleans(), st.sampled_from("AB")),
    st.tuples(st.just("pushback"), st.booleans(), st.sampled_from("AB")),
    st.tuples(st.just("advance"), st.sampled_from([2.0, 24.0, 70.0, 200.0])),
    st.tuples(st.sampled_from(["invalidate", "expire"]), st.sampled_from("AB")),
    st.tuples(st.just("forget"), st.booleans()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, max_size=12))
async def test_a_dry_run_says_what_the_call_then_does(steps: list[tuple[object, ...]]) -> None:
    """With two instances on one store, whatever was asked, lost or refused before."""
    clock = FakeClock(wall=86_400.0 * 20_000 + 3_600)
    store = f"memory://dry-run-{next(_names)}"
    failures: list[UpstreamError] = []
    limits = Limits(per_minute=7)
    upstream = Scripted(
        "a",
        ["bars"],
        lambda call: failures.pop() if failures else call.subject,
        retries=0,
        limits=limits,
    )
    async with opened(store, clock, upstream) as one, opened(store, clock, upstream) as other:
        for step in (*steps, ("ask", False, "A"), ("ask", True, "A")):
            match step:
                case ("advance", float(seconds)):
                    await clock.advance(seconds)
                case ("invalidate" | "expire" as change, str(symbol)):
                    await getattr(one, change)(f"subject:{symbol}")
                    await settle()
                case ("forget", bool(first)):
                    context = context_of(one if first else other)
                    await context.shared.delete(await context.shared.scan("argo:cache:"))
                case (str(kind), bool(first), str(symbol)):
                    if kind == "fail":
                        failures.append(UpstreamError("down", upstream="a"))
                    elif kind == "pushback":
                        slow = UpstreamError("slow", upstream="a", status=429, retry_after=15.0)
                        failures.append(slow)
                    await check(one if first else other, symbol, upstream)
                    failures.clear()


async def check(argo: Argo, symbol: str, upstream: Scripted) -> None:
    before, asked = await contents(argo), len(upstream.asked)
    explained = await argo.dry_run("bars", symbol=symbol)
    assert before == await contents(argo)
    assert asked == len(upstream.asked)
    hit = of("cache", explained).text.startswith("would hit")
    a = of("upstream.a", explained)
    outcome: Outcome | ArgoError
    try:
        outcome = await argo.outcome("bars", symbol=symbol)
    except ArgoError as error:
        outcome = error
    await settle()
    unasked = asked == len(upstream.asked)
    assert hit == (isinstance(outcome, Outcome) and unasked and not stale(outcome))
    if not hit:
        assert a.on == (asked < len(upstream.asked)), (a, outcome)
        if isinstance(outcome, Refusal):
            assert f"would be refused: {outcome}" == a.text


def stale(outcome: Outcome) -> bool:
    return any("stale" in note.text for note in outcome.notes)


async def test_every_layer_that_is_installed_says_what_it_would_do() -> None:
    async with Argo.open({"argo": {"shared": "sqlite"}}) as argo:
        for operation_name, parameters in ASKED.items():
            for explained in (
                argo.explain(operation_name, **parameters),
                await argo.dry_run(operation_name, **parameters),
            ):
                acting = [one for one in explained if one.on]
                assert [] == [one.name for one in acting if not one.text]
