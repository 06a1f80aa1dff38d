"""A load under way is known to the chains before and after every change of flags and settings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argo_mw import Argo, Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import Call, Upstream, operation
from argo_mw.testing import FakeClock, FakePlugin, settle
from argo_mw_cache import CachePlugin
from argo_mw_coalesce import plugin as coalesce
from argo_mw_race import plugin as race

TTL = 5.0
OFF_AND_ON = ("cache", "race")
"""The flags that are flipped: with coalesce itself off, loads overlap by intention."""


@operation(timeout=60.0, subject="symbol")
def quote(symbol: str) -> object:
    """The price of one symbol."""


@pytest.fixture(autouse=True)
def private_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


class Held:
    """An upstream that holds its answers back, and counts requests about one subject at once."""

    def __init__(self) -> None:
        self.requests = self.overlapping = 0
        self._under_way: dict[str, int] = {}
        self._gate = asyncio.Event()

    def upstream(self) -> Upstream:
        return Upstream("a", {"quote"}, self._fetch, timeout=60.0, retries=0)

    async def release(self) -> None:
        """Answer what is under way, and hold back what comes next."""
        self._gate.set()
        await settle()
        self._gate.clear()

    async def _fetch(self, call: Call) -> Outcome:
        self.requests += 1
        self.overlapping += bool(self._under_way.get(call.subject))
        self._under_way[call.subject] = self._under_way.get(call.subject, 0) + 1
        try:
            await self._gate.wait()
        finally:
            self._under_way[call.subject] -= 1
        return Outcome({"of": call.subject})


class Configuration:
    """What the application is set to; every change is one that a reload takes up."""

    def __init__(self) -> None:
        self._flags = dict.fromkeys(OFF_AND_ON, "on")
        self._changes = 0
        self._changed: dict[str, int] = {}

    def flip(self, flag: str) -> None:
        self._flags[flag] = "off" if self._flags[flag] == "on" else "on"

    def change(self, plugins: tuple[str, ...]) -> None:
        self._changes += 1
        self._changed |= dict.fromkeys(plugins, self._changes)

    def tables(self) -> dict[str, object]:
        of = {name: self._changed.get(name, 0) for name in ("coalesce", "cache", "race", "quote")}
        return {
            "argo": {"shared": "memory://", "strict": True},
            "flags": dict(self._flags),
            "plugins": {
                "coalesce": {"failure_ttl": 0.25 + of["coalesce"] / 100},
                "cache": {"ttl": TTL + of["cache"] / 100, "soft_timeout": 2.0},
                "race": {"hedge_budget": 0.0, "cancel_timeout": 1.0 + of["race"] / 100},
            },
            "operations": {"quote": {"timeout": 60.0 + of["quote"] / 100}},
        }


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(["A", "A", "A", "B"])),
        st.tuples(st.just("ask young"), st.sampled_from(["A", "B"])),
        st.tuples(st.just("flip"), st.sampled_from(OFF_AND_ON)),
        st.tuples(
            st.just("change"),
            st.sampled_from(
                [("coalesce",), ("cache",), ("coalesce", "cache"), ("race", "quote"), ("quote",)]
            ),
        ),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, TTL + 0.1])),
        st.tuples(st.just("release"), st.none()),
    ),
    max_size=30,
)


@given(STEPS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_two_loads_of_one_question_overlap_whatever_is_changed_when(
    steps: list[tuple[str, object]],
) -> None:
    asyncio.run(drive(steps))


def opened(clock: FakeClock, held: Held, configuration: Configuration) -> Argo:
    plugins = {
        "asked": FakePlugin(operations=[quote], upstreams=[held.upstream()]),
        "coalesce": coalesce,
        "cache": CachePlugin,
        "race": race,
    }
    return Argo.open(configuration.tables(), clock=clock, plugins=plugins, installed=False)


async def drive(steps: list[tuple[str, object]]) -> None:
    clock, held, configuration = FakeClock(), Held(), Configuration()
    async with opened(clock, held, configuration) as argo:
        callers: list[asyncio.Task[object]] = []
        for step, what in steps:
            match step, what:
                case "ask", str(symbol):
                    callers.append(asyncio.create_task(argo.call("quote", symbol=symbol)))
                case "ask young", str(symbol):
                    young = argo.options(max_age=1_000.0)
                    callers.append(asyncio.create_task(young.call("quote", symbol=symbol)))
                case "flip", str(flag):
                    configuration.flip(flag)
                    await argo.reload(configuration.tables())
                case "change", tuple(plugins):
                    configuration.change(plugins)
                    await argo.reload(configuration.tables())
                case "wait", float(seconds):
                    await clock.advance(seconds)
                case "release", _:
                    await held.release()
            await settle()
            assert 0 == held.overlapping, f"after {step} {what}"
        held._gate.set()
        await settle()
        await clock.advance(1.0)
        answers = await asyncio.gather(*callers)
        assert all(answer in ({"of": "A"}, {"of": "B"}) for answer in answers)
        assert len(callers) == len({id(answer) for answer in answers})


async def test_many_reloads_leave_no_task_behind(tmp_path: Path) -> None:
    """The layers that each one replaces are closed by one timer for all."""
    clock, held, configuration = FakeClock(), Held(), Configuration()
    async with opened(clock, held, configuration) as argo:
        before = len(engine_of(argo).tasks)
        for _ in range(50):
            configuration.change(("cache", "coalesce"))
            await argo.reload(configuration.tables())
        assert before == len(engine_of(argo).tasks)
        await clock.advance(200.0)
        assert before == len(engine_of(argo).tasks)
