"""Two instances of an application on one store, their callers, and what must hold of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import argo_mw_coalesce.plugin as coalesce
import argo_mw_race.plugin as race
from argo_mw import Argo
from argo_mw.app.application import engine_of
from argo_mw.plugin import Clock, Limits, Shared, context_of, hookimpl
from argo_mw.store import Ability, OpenShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.testing import FakeClock, FakePlugin, settle
from argo_mw_adaptive_ttl.plugin import AdaptiveTtlPlugin
from argo_mw_cache.plugin import CachePlugin
from tests.model.answers import SHAPES
from tests.model.hostile import (
    MAX_TOKENS,
    MODEL,
    TIMEOUT,
    Desk,
    HostileModel,
    Models,
    Vendor,
    brief,
    digest,
    note,
    quote,
)
from tests.model.promises import BUDGET, Asked, Promises, Violation
from tests.model.store import Link, State

T = TypeVar("T")
SYMBOLS = ("AAA", "BBB")
TENANTS = ("red", "blue")
LAYERS = ("coalesce", "cache", "adaptive_ttl", "race")

_MIDNIGHT = 1_749_945_600.0
_QUIET = 60.0
"""Seconds after which nothing is left of a call, and a minute's quota is new."""
_LEASE_TTL = 5 * _QUIET
"""Leases live for longer, so that a lost one shows."""
_LATE = 1.02
"""By how much timers may ring late."""


class World:
    """All of it.

    Attributes:
        vendors: The upstreams of prices and notes; the second has few requests a day.
        model: The language model.
        links: Each instance's link to the store.

    Args:
        directory: Where each keeps its state.
    """

    def __init__(self, directory: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(AtOnce())
        self.clock: Clock = FakeClock(wall=_MIDNIGHT + 60.0)
        self.vendors = (
            Vendor("left", self, Limits(per_day=10_000, per_minute=12, concurrency=3)),
            Vendor("right", self, Limits(per_day=15, per_minute=4)),
        )
        self.model = HostileModel(self)
        self.links: list[Link] = []
        self._directory = directory
        self._store = MemoryStore()
        self._promises = Promises(self.clock, self._store, self.links, self.vendors, self.model)
        self._versions = dict.fromkeys(SYMBOLS, 1)
        self._flags: list[dict[str, object]] = [{}, {}]
        self._floors = [dict(self._versions) for _ in range(2)]
        self._unheard: list[tuple[int, str, int]] = []
        self._asked: list[Asked] = []
        self._argos: list[Argo] = []
        self._idle: list[set[str]] = []

    # -- what happens ------------------------------------------------------------------------

    def run(self, code: Coroutine[object, object, T]) -> T:
        """Let the loop run until *code* is done."""
        return self.loop.run_until_complete(code)

    async def open(self) -> None:
        """Open both instances."""
        for instance in range(2):
            argo = Argo.open(
                self._config(instance),
                clock=self.clock,
                plugins=self._plugins(),
                installed=False,
            )
            await argo.__aenter__()
            self._argos.append(argo)
        await self._clock.advance(1.0)
        self._idle = [set(engine_of(argo).tasks.names) for argo in self._argos]

    async def close(self) -> None:
        """End everything."""
        for link in self.links:
            link.turn("up")
        for one in self._asked:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in self._asked), return_exceptions=True)
        closing = [asyncio.ensure_future(argo.aclose()) for argo in self._argos]
        while not all(one.done() for one in closing):
            await self._clock.advance(1.0)
        await asyncio.gather(*closing)

    def ask(
        self,
        instance: int,
        operation: str,
        symbol: str,
        tenant: str,
        *,
        timeout: float | None = None,
        max_age: float | None = None,
    ) -> None:
        """Let a caller come, and not wait for the answer."""
        shape = (
            SHAPES[len(operation) % 2 + 2 * SYMBOLS.index(symbol)] if symbol in SYMBOLS else "list"
        )
        parameters: dict[str, object] = {"symbol": symbol, "shape": shape}
        if operation == "complete":
            messages = [{"role": "user", "content": symbol}]
            parameters = {"messages": messages, "model": MODEL, "max_tokens": MAX_TOKENS}
        caller = self._argos[instance].options(tenant=tenant, timeout=timeout, max_age=max_age)
        self._asked.append(
            Asked(
                self.loop.create_task(caller.outcome(operation, **parameters)),
                instance,
                operation,
                symbol,
                tenant,
                began=self.clock.time(),
                since=self.clock.monotonic(),
                until=self.clock.monotonic() + (timeout or 120.0) * _LATE + 0.1,
                floor=self._floors[instance].get(symbol, 0),
                max_age=max_age,
            )
        )

    @property
    def waiting(self) -> int:
        """How many callers have no answer yet, as of the last check."""
        return len(self._asked)

    def leave(self, which: int) -> None:
        """Let a caller leave."""
        if self._asked:
            self._asked[which % len(self._asked)].task.cancel()

    async def turns(self, number: int) -> None:
        """Let the loop turn, and no time pass."""
        for _ in range(number):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        await self._clock.advance(seconds)

    async def change(self, symbol: str, instance: int) -> None:
        """Let the world change, and one instance hear of it."""
        self._versions[symbol] += 1
        version = self._versions[symbol]
        telling = asyncio.ensure_future(self._argos[instance].invalidate(f"subject:{symbol}"))
        await asyncio.sleep(0)  # It holds here from the call on, and elsewhere once it is known.
        self._raise_floor(instance, symbol, version)
        self._unheard.append((instance, symbol, version))
        # Two turns of storing and announcing, each as slow as a link may be.
        until = self.clock.monotonic() + 15.0
        while not telling.done() and self.clock.monotonic() < until:
            await self._clock.advance(0.1)
        if not telling.done():
            raise Violation("invalidate", "an invalidation waits for longer than the store takes")
        others_hear = await telling
        await self.turns(5)
        if others_hear and self._is_within_reach(1 - instance):
            self._raise_floor(1 - instance, symbol, version)

    async def flip(self, instance: int, layer: str, flag: object) -> None:
        """Switch one layer of one instance."""
        self._flags[instance][layer] = flag
        await self._argos[instance].reload(self._config(instance))

    async def turn(self, instance: int, state: State, delay: float) -> None:
        """Let the link of one instance come, go, or slow down."""
        link = self.links[instance]
        link.delay = delay
        link.turn(state)

    def evict(self) -> None:
        """Lose every value of the store; counters and leases stay."""
        self._store.values.clear()

    def version(self, symbol: str) -> int:
        """The state that the world is in."""
        return self._versions.get(symbol, 0)

    def sent(self, upstream: str) -> None:
        """Count a request that has arrived, which must have been paid for."""
        self._promises.sent(upstream)

    def overrun(self) -> None:
        """Expect that no more is sent, once all is settled."""
        self._promises.overrun()

    # -- what must hold ----------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold after every step."""
        self._hear()
        for one in list(self._asked):
            if one.task.done():
                self._asked.remove(one)
                self._promises.check_end(one)
            else:
                self._promises.check_waiting(one)
        self._promises.check()

    async def check_quiet(self) -> None:
        """Let everything end, and check that nothing is left."""
        for link in self.links:
            link.turn("up")
        for vendor in (*self.vendors, self.model):
            vendor.manner = "good"
        while self._asked:
            await self._clock.advance(1.0)
            self.check()
        for _ in range(20):
            await self._clock.advance(0.5)
        await self._clock.advance(_QUIET)
        if self._left():
            # A load whose last caller ran out of time ends within its operation's timeout, and
            # waits for a lease whose grant was lost until that runs out.
            longest = max(engine_of(argo).longest_timeout for argo in self._argos)
            await self._clock.advance(longest + _LEASE_TTL)
        if left := self._left():
            raise Violation("task", f"no call is under way, and {left} run")
        self._promises.check_quiet()
        await self._check_slots()

    def _left(self) -> list[str]:
        """Return the names of tasks that an application at rest does not have."""
        every = zip(self._argos, self._idle, strict=True)
        return sorted({n for argo, idle in every for n in set(engine_of(argo).tasks.names) - idle})

    async def _check_slots(self) -> None:
        """As many requests may be under way as before."""
        await self.flip(0, "race", "off")
        before, slots = self._promises.requests["left"], self.vendors[0].limits.concurrency or 0
        for vendor in self.vendors:
            vendor.manner = "hangs"
        for number in range(slots):
            self.ask(0, "quote", f"slot{number}", "red", timeout=TIMEOUT)
        await settle()
        arrived = self._promises.requests["left"] - before
        ended = [one.task for one in self._asked if one.task.done()]
        for vendor in self.vendors:
            vendor.manner = "good"
        for one in self._asked:
            one.task.cancel()
        await settle()
        self._asked.clear()
        if arrived < slots:
            raise Violation("slot", f"{arrived} of {slots} requests are sent at once: {ended}")

    # -- details -----------------------------------------------------------------------------

    @property
    def _clock(self) -> FakeClock:
        return cast("FakeClock", self.clock)

    def _hear(self) -> None:
        """Let an invalidation hold in the other instance too, once the store knows of it."""
        for entry in list(self._unheard):
            instance, symbol, version = entry
            versions = context_of(self._argos[instance]).tag_versions
            known = not versions.pending and not versions.unannounced
            if known and all(link.state == "up" for link in self.links):
                self._unheard.remove(entry)
                self._raise_floor(1 - instance, symbol, version)

    def _is_within_reach(self, instance: int) -> bool:
        """Return whether an instance hears of what others do, or can read it, and knows that."""
        health = context_of(self._argos[instance]).tag_versions.health
        known = health.allows(Ability.READ) or health.allows(Ability.HEAR)
        return known and self.links[instance].state != "away"

    def _raise_floor(self, instance: int, symbol: str, version: int) -> None:
        floors = self._floors[instance]
        floors[symbol] = max(floors[symbol], version)

    def _config(self, instance: int) -> dict[str, object]:
        return {
            "argo": {
                "shared": "link://",
                "strict": True,
                "state_dir": str(self._directory / str(instance)),
            },
            "flags": {"race": "off", "adaptive_ttl": "off"} | self._flags[instance],
            "operations": {name: {"upstreams": ["left", "right"]} for name in ("quote", "note")},
            "upstreams": {"claude": {"per_minute": 6, "per_day": 100_000}},
            "plugins": {
                "coalesce": {"lease_ttl": _LEASE_TTL},
                "cache": {"ttl": 20.0, "grace": 40.0},
                "llm": {
                    "claude": {"key": "any"},
                    "budgets": [{"usd": BUDGET}, {"usd": BUDGET * 2 / 3, "tenant": "*"}],
                },
            },
        }

    def _plugins(self) -> dict[str, object]:
        link = Link(self._store, self.clock)
        self.links.append(link)
        vendors = [vendor.upstream for vendor in self.vendors]
        return {
            "adaptive_ttl": AdaptiveTtlPlugin,
            "asked": FakePlugin(operations=[quote, note, brief, digest], upstreams=vendors),
            "cache": CachePlugin,
            "coalesce": coalesce,
            "desk": Desk(["brief", "digest"]),
            "link": Store(link),
            "llm": Models(self.model),
            "race": race,
        }


class AtOnce(ThreadPoolExecutor):
    """Runs what is meant for threads at once, so that every run goes the same way."""

    def submit(self, code: Callable[..., T], /, *args: object, **named: object) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(code(*args, **named))
        except Exception as error:
            done.set_exception(error)
        return done


class Store:
    """A plugin with the driver of the link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @hookimpl
    def register_shared_drivers(self) -> Mapping[str, OpenShared]:
        return {"link": self._open}

    async def _open(self, url: str, clock: Clock) -> Shared:
        return self._link
