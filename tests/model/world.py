"""Two instances of an application on one store, their callers, and what must hold of them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import argo_mw_coalesce.plugin as coalesce
import argo_mw_race.plugin as race
from attrs import define, field

from argo_mw import Argo, ArgoError, DeadlineExceeded, Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import Clock, Limits, Shared, context_of, hookimpl
from argo_mw.store import OpenShared
from argo_mw.store.memory import MemoryStore
from argo_mw.testing import FakeClock, FakePlugin, settle
from argo_mw_adaptive_ttl.plugin import AdaptiveTtlPlugin
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import Completion

from tests.model.answers import SHAPES, cell_of, spoil, stamp_of
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
from tests.model.store import Link, State

T = TypeVar("T")
SYMBOLS = ("AAA", "BBB")
TENANTS = ("red", "blue")
LAYERS = ("coalesce", "cache", "adaptive_ttl", "race")
BUDGET = 0.12
"""US dollars that all tenants may spend; each may spend two thirds of it."""

_HOLD = 0.02
"""More than one request of a language model holds, in US dollars."""
_NANO = 1e-9
_MIDNIGHT = 1_749_945_600.0
_QUIET = 12.0
"""Seconds after which nothing is left of a call; leases live for longer, so that a lost one shows."""
_LATE = 1.02
"""By how much timers may ring late."""
_KEPT = 24


class Violation(AssertionError):
    """A promise was broken."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")


@define(eq=False)
class Asked:
    """A call under way, and what its answer must be."""

    task: asyncio.Task[Outcome]
    instance: int
    operation: str
    symbol: str
    tenant: str
    began: float
    since: float
    until: float
    floor: int
    max_age: float | None


class World:
    """All of it.

    Attributes:
        vendors: The upstreams of prices and notes; the second has few requests a day.
        model: The language model.
        links: Each instance's link to the store.
    """

    def __init__(self, directory: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(AtOnce())
        self.clock: Clock = FakeClock(wall=_MIDNIGHT + 60.0)
        self.vendors = (
            Vendor("left", self, Limits(per_day=10_000, concurrency=3)),
            Vendor("right", self, Limits(per_day=15, per_minute=8)),
        )
        self.model = HostileModel(self)
        self.links: list[Link] = []
        self._directory = directory
        self._store = MemoryStore()
        self._requests: Counter[str] = Counter()
        self._versions = dict.fromkeys(SYMBOLS, 1)
        self._flags: list[dict[str, object]] = [{}, {}]
        self._floors = [dict(self._versions) for _ in range(2)]
        self._unheard: list[tuple[int, str, int]] = []
        self._asked: list[Asked] = []
        self._held: deque[tuple[object, float]] = deque(maxlen=_KEPT)
        self._errors: deque[BaseException] = deque(maxlen=_KEPT)
        self._argos: list[Argo] = []
        self._idle: list[set[str]] = []
        self._marks = 0

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
        shape = SHAPES[len(operation) % 2 + 2 * SYMBOLS.index(symbol)] if symbol in SYMBOLS else "list"
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
        for _ in range(100):
            if telling.done():
                break
            await self._clock.advance(0.1)
        await telling

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
        self._requests[upstream] += 1
        if upstream == "claude":
            self._check_budgets_at_sending()

    # -- what must hold ----------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold after every step."""
        self._hear()
        for one in [one for one in self._asked if one.task.done()]:
            self._asked.remove(one)
            self._check_end(one)
        for one in self._asked:
            if self.clock.monotonic() > one.until:
                raise Violation("deadline", f"{one.operation} still waits past its timeout")
        self._check_held()
        self._check_quotas()
        self._check_budgets()

    async def check_quiet(self) -> None:
        """Let everything end, and check that nothing is left."""
        for link in self.links:
            link.turn("up")
        for vendor in (*self.vendors, self.model):
            vendor.manner = "good"
        while self._asked:
            await self._clock.advance(1.0)
            self.check()
        for _ in range(int(_QUIET / 0.5)):
            await self._clock.advance(0.5)
        now = self.clock.monotonic()
        orphans = self.links[0].orphans | self.links[1].orphans
        held = {key for key, lease in self._store.leases.items() if lease.expires > now}
        leases = held - orphans
        if leases:
            raise Violation("lease", f"nobody loads, and {sorted(leases)} are held")
        for argo, idle in zip(self._argos, self._idle, strict=True):
            left = set(engine_of(argo).tasks.names) - idle
            if left:
                raise Violation("task", f"nobody waits, and {sorted(left)} run")
        for vendor in self.vendors:
            self._check_quota_is_given_back(vendor.upstream.name)
        self._check_money_is_given_back()
        await self._check_slots()

    def _check_end(self, one: Asked) -> None:
        if one.task.cancelled():
            return
        error = one.task.exception()
        if error is not None:
            self._check_error(one, error)
            return
        outcome = one.task.result()
        if one.max_age is not None and outcome.as_of is not None:
            age = min(one.began, self.clock.time()) - outcome.as_of
            if age > one.max_age + 0.001:
                raise Violation("age", f"{one.operation} is {age:.3f} s old, not {one.max_age}")
        if isinstance(outcome.value, Completion):
            owner, _, prompt = outcome.value.text.partition("|")
            if (owner, prompt) != (one.tenant, one.symbol):
                raise Violation("tenant", f"{one.tenant} got {outcome.value.text!r}")
            return
        self._check_answer(one, outcome.value)

    def _check_answer(self, one: Asked, value: object) -> None:
        stamp = stamp_of(value)
        if (stamp.operation, stamp.symbol) != (one.operation, one.symbol):
            raise Violation("question", f"{one.operation} {one.symbol} got {stamp}")
        if stamp.owner not in ("", one.tenant) or (one.operation != "quote" and not stamp.owner):
            raise Violation("tenant", f"{one.operation} of {one.tenant} got {stamp}")
        if stamp.version < one.floor:
            raise Violation("invalidated", f"{stamp}, invalidated before {one.floor}")
        if cell_of(value) != 0.0:
            raise Violation("copy", f"{one.operation} came with a mark of another caller")
        self._marks += 1
        spoil(value, float(self._marks))
        self._held.append((value, float(self._marks)))

    def _check_error(self, one: Asked, error: BaseException) -> None:
        if not isinstance(error, ArgoError):
            raise Violation("error", f"{one.operation} raised {error!r}") from error
        if isinstance(error, DeadlineExceeded) and "shutdown" in str(error):
            raise Violation("error", f"nothing is shut down: {error}")
        if any(error is known for known in self._errors):
            raise Violation("own error", f"two callers got one object: {error!r}")
        self._errors.append(error)

    def _check_held(self) -> None:
        for value, mark in self._held:
            if cell_of(value) != mark:
                raise Violation("copy", "a value changed in the hands of its caller")

    def _counters(self, prefix: str) -> dict[str, int]:
        kept = self._store.counters.items()
        return {
            k: cast("int", v.value)
            for k, v in kept
            if k.startswith(prefix) and v.expires > self.clock.monotonic()
        }

    def _uncertain(self, key: str) -> int:
        return sum(link.uncertain[key] for link in self.links)

    def _check_quotas(self) -> None:
        for vendor in self.vendors:
            name, limits = vendor.upstream.name, vendor.limits
            for span in ("day", "minute"):
                limit = getattr(limits, f"per_{span}")
                for key, count in self._counters(f"argo:quota:{name}:{span}:").items():
                    if count > limit:
                        raise Violation("quota", f"{key} is {count}, and the limit {limit}")
                    if span == "day" and count < self._requests[name]:
                        sent = self._requests[name]
                        raise Violation("quota", f"{key} is {count}, and {sent} were sent")

    def _check_quota_is_given_back(self, name: str) -> None:
        for key, count in self._counters(f"argo:quota:{name}:day:").items():
            most = self._requests[name] + self._uncertain(key)
            if count > most:
                raise Violation("reservation", f"{key} is {count}, and at most {most} were sent")

    def _check_budgets_at_sending(self) -> None:
        for key, count in self._counters("argo:llm:budget:").items():
            limit = _limit(key)
            if count > limit / _NANO + 1:
                spent = count * _NANO
                raise Violation("budget", f"{key} is {spent:.4f}, over {limit}, and more is sent")

    def _check_budgets(self) -> None:
        if self.model.overrun:
            return
        for key, count in self._counters("argo:llm:budget:").items():
            limit = _limit(key)
            if count > limit / _NANO + 1:
                raise Violation("budget", f"{key} is {count * _NANO:.4f}, over {limit}")
        total = sum(self._of_all_tenants().values()) * _NANO
        uncertain = sum(map(self._uncertain, self._of_all_tenants())) * _NANO
        if total + uncertain < self.model.billed - 1e-6:
            raise Violation("budget", f"{total:.4f} is settled, and {self.model.billed:.4f} billed")

    def _check_money_is_given_back(self) -> None:
        if self.model.overrun:
            return
        uncertain = sum(map(self._uncertain, self._of_all_tenants())) * _NANO
        most = self.model.billed + self.model.unsettled * _HOLD + uncertain + 1e-6
        total = sum(self._of_all_tenants().values()) * _NANO
        if total > most:
            raise Violation("reservation", f"{total:.4f} is held, and at most {most:.4f} was spent")

    def _of_all_tenants(self) -> Mapping[str, int]:
        return self._counters("argo:llm:budget:0:")

    async def _check_slots(self) -> None:
        """As many requests may be under way as before."""
        await self.flip(0, "race", "off")
        before, slots = self._requests["left"], self.vendors[0].limits.concurrency or 0
        for vendor in self.vendors:
            vendor.manner = "hangs"
        for number in range(slots):
            self.ask(0, "quote", f"slot{number}", "red", timeout=TIMEOUT)
        await settle()
        arrived = self._requests["left"] - before
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
            known = not context_of(self._argos[instance]).tag_versions.pending
            if known and all(link.state == "up" for link in self.links):
                self._unheard.remove(entry)
                self._raise_floor(1 - instance, symbol, version)

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
            "upstreams": {"claude": {"per_minute": 100_000, "per_day": 100_000}},
            "plugins": {
                "coalesce": {"lease_ttl": 5 * _QUIET},
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


def _limit(key: str) -> float:
    return BUDGET if key.startswith("argo:llm:budget:0:") else BUDGET * 2 / 3
