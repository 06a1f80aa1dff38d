"""A fleet of make-believe, whose counts are drawn from a seed: what the judge and its ramps need."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import SimpleNamespace

import pytest
from attrs import define, evolve, field

from argo_mw import ConfigError
from argo_mw.plugin import (
    Block,
    Codecs,
    Counts,
    InstanceCounts,
    Shared,
    SubjectCounts,
    Tasks,
    Watch,
)
from argo_mw.store import open_shared
from argo_mw.testing import FakeClock
from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.controller import RampController
from argo_mw_rollout.plan import Plan
from argo_mw_rollout.ramp import Ramp
from argo_mw_rollout.ramps import Ramps

FLAG = "bold"
SUBJECTS = [f"S{number}" for number in range(60)]
Harm = Callable[[SubjectCounts, random.Random], None]


def unharmed(counts: SubjectCounts, dice: random.Random) -> None:
    """Do nothing."""


@define
class FakeFlag:
    """A flag with a rule."""

    rule: SimpleNamespace
    source: str = "fleet"


@define
class FakeFlags:
    """Flags that note what they are set to."""

    clock: FakeClock
    history: list[tuple[float, str]] = field(factory=list)
    rolled_back: list[str] = field(factory=list)
    refused: set[str] = field(factory=set)
    stale: str = ""

    @property
    def now(self) -> str:
        return self.history[-1][1] if self.history else "off"

    @property
    def all(self) -> Mapping[str, FakeFlag]:
        percent = float(self.now[:-1]) if self.now.endswith("%") else None
        rule = SimpleNamespace(
            state="off" if percent is not None else self.now,
            percent=percent,
            by="subject",
            killed=False,
            rolled_back=self.rolled_back[-1] if self.rolled_back else "",
            idle=self.now == "off",
        )
        return {FLAG: FakeFlag(rule)}

    async def set(self, name: str, rule: str, *, fleet: bool = False) -> bool:
        assert fleet
        if rule in self.refused:
            msg = f"{name} cannot {rule}"
            raise ConfigError(msg)
        if self.now != rule:
            self.history.append((self.clock.time(), rule))
        return True

    async def roll_back(self, name: str, why: str, *, fleet: bool = False) -> bool:
        assert fleet
        if why not in self.rolled_back:
            self.rolled_back.append(why)
        return True


@define
class FakeCounters:
    """Counts drawn from a seed: every reader gets the same, at any time."""

    clock: FakeClock
    flags: FakeFlags
    harm: Harm = unharmed
    instances: tuple[str, ...] = ("one", "two")
    silent: bool = False
    mute: set[str] = field(factory=set)
    clocks: dict[str, float] = field(factory=dict)
    watching: dict[str, Watch] = field(factory=dict)

    async def alive(self) -> dict[str, float]:
        if self.silent:
            return {}
        now = self.clock.time()
        return {name: now + self.clocks.get(name, 0.0) for name in self.instances}

    async def blocks(self, flag: str, numbers: Iterable[int]) -> list[Block]:
        if self.silent:
            return []
        return [self._block(n, name) for n in numbers for name in self.instances]

    async def read(self, of: str) -> list[InstanceCounts]:
        counts = Counts("quote")
        for n in range(1, 401):
            counts.latency.add(n / 1000)
        return [InstanceCounts("one", "here", "", 0.0, 0.0, [counts])]

    async def watches(self) -> dict[str, Watch]:
        return self.watching

    async def watch(self, watch: Watch) -> None:
        self.watching[watch.flag] = watch

    async def unwatch(self, flag: str) -> None:
        self.watching.pop(flag, None)

    def _share(self, at: float) -> float:
        found = [rule for moment, rule in self.flags.history if moment <= at]
        return float(found[-1][:-1]) if found and found[-1].endswith("%") else 0.0

    def _block(self, number: int, instance: str) -> Block:
        dice = random.Random(f"{number} {instance}")
        share = self._share(number * 30.0) / 100
        rows: dict[str, dict[str, SubjectCounts]] = {"": {}, "treatment": {}, "control": {}}
        for place, subject in enumerate(SUBJECTS):
            treated = place < share * len(SUBJECTS)
            control = place >= len(SUBJECTS) * (1 - min(share, 1 - share))
            arm = "treatment" if treated else "control" if share and control else ""
            counts = SubjectCounts(calls=20)
            for _ in range(20):
                counts.errors += dice.random() < 0.01
                counts.slow += dice.random() < 0.05
                counts.slowest += dice.random() < 0.01
                counts.requests += dice.random() < 0.5
                counts.usd += 0.01 * (dice.random() < 0.5)
            counts.audits = 2
            counts.distance = 0.001 * dice.random()
            if arm == "treatment":
                self.harm(counts, dice)
            if arm not in self.mute:
                rows[arm][subject] = counts
        return Block(instance, number, 30.0, {arm: found for arm, found in rows.items() if found})


@define
class World:
    """A fleet of make-believe, and what it said."""

    clock: FakeClock
    shared: Shared
    flags: FakeFlags
    counters: FakeCounters
    tasks: Tasks
    config: RolloutConfig = field(factory=RolloutConfig)
    said: list[str] = field(factory=list)
    announced: list[tuple[str, str]] = field(factory=list)

    def context(self, shared: Shared | None = None) -> object:
        return SimpleNamespace(
            clock=self.clock,
            shared=shared or self.shared,
            codecs=Codecs(),
            flags=self.flags,
            counters=self.counters,
            tasks=self.tasks,
            single_process=False,
            announce=lambda layer, what, call, detail: self.announced.append((what, detail)),
            report=lambda where, what: self.said.append(what),
            warn_once=lambda where, what: self.said.append(what),
        )

    def controller(self, shared: Shared | None = None) -> RampController:
        return RampController(self.context(shared), lambda: self.config)

    async def start(self, plan: Plan | None = None, **changes: object) -> Ramp:
        now = self.clock.time()
        ramp = Ramp(
            FLAG,
            plan or Plan(steps=("25%", "on"), signals=()),
            started=now,
            since=now,
            next_block=int(now // 30) + 1,
            before="off",
        )
        fresh = evolve(ramp, **changes)
        return await Ramps(self.context()).change(FLAG, lambda _: fresh)

    async def ramp(self) -> Ramp:
        found = (await Ramps(self.context()).read(FLAG)).ramp
        assert found is not None
        return found

    async def pass_by(self, seconds: float, controller: RampController | None = None) -> None:
        """Let *seconds* pass, in which a judge looks twice a minute."""
        judge = controller or self.controller()
        for _ in range(int(seconds / 30)):
            await self.clock.advance(30.0)
            await judge.look()
        if controller is None:
            await judge.resign()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def world(clock: FakeClock) -> AsyncIterator[World]:
    shared = await open_shared("memory://", clock=clock, drivers={})
    flags = FakeFlags(clock)
    tasks = Tasks()
    yield World(clock, shared, flags, FakeCounters(clock, flags), tasks)
    await tasks.aclose()
    await shared.aclose()
