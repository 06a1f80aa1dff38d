"""Counters: what this instance counts, and what the whole fleet does.

Every few seconds one task writes what was counted since the start under a key of the instance's
own, which expires when the instance does not renew it. Readers add up what they find. Nothing
waits for it: while the store is away, an instance counts on, and keeps its newest blocks.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal, TypeVar, get_args

from argo_mw.base.clock import Clock, Timer
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.errors import BadParameter, Closed, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.base.tasks import Tasks
from argo_mw.counters.counts import InstanceCounts
from argo_mw.counters.instance import MAX_WATCHES, Tallies
from argo_mw.counters.known_instances import KnownInstances
from argo_mw.counters.shadow_result import ShadowResult
from argo_mw.counters.subject_counts import Block
from argo_mw.counters.tally import Served
from argo_mw.counters.watched_flags import Watch
from argo_mw.model.call import Call
from argo_mw.store.codec import Codecs
from argo_mw.store.protocol import Shared

log = Log("argo_mw")

T = TypeVar("T")

CountersOf = Literal["instance", "machine", "fleet"]
"""Whose counters are read: of this instance, of all on this machine, or of all there are."""

BLOCK_TTL: Final = 1_800.0
"""Seconds for which a block of counts is kept in the shared store."""

_WATCHES = "argo:counters:watches"
_COUNTS = "argo:counters:of:"
_SECONDS: Final = re.compile(rb"\d{1,20}(\.\d{1,20})?")
_NOT_IN_NAMES: Final = re.compile(r"[^\w.-]")
_ALIVE = "argo:counters:alive:"
_BLOCKS = "argo:counters:block:"
_TIMEOUT = 2.0
_TRIES = 8
_LEAST_TTL = 30.0
_LEAST_PAUSE = 0.05


class Counters:
    """Reads the counters of this instance, of its machine, or of the fleet, and publishes its own.

    Attributes:
        instance: This instance's name, unique in the fleet.
        machine: The name of its machine.
        tallies: What counts here, for the core alone.
    """

    def __init__(
        self, shared: Shared, codecs: Codecs, clock: Clock, tasks: Tasks, *, every: float = 5.0
    ) -> None:
        self.machine = _machine()
        self.instance = f"{self.machine}-{os.getpid()}-{secrets.token_hex(3)}"
        self.tallies = Tallies(clock, self.instance)
        self._shared = shared
        self._codecs = codecs
        self._clock = clock
        self._tasks = tasks
        self._every = every
        self._ttl = max(_LEAST_TTL, 6.0 * every)
        self._started = clock.time()
        self._instances = KnownInstances(shared, codecs)
        self._publishing = False
        self._due = 0.0
        self._timer: Timer | None = None
        self._pending: dict[str, bytes] = {}
        self._followers: list[Callable[[], Awaitable[None]]] = []

    def start(self) -> None:
        """Publish from now on, every few seconds, unless that is switched off. Idempotent."""
        if self._every > 0 and not self._publishing:
            self._publishing = True
            self._due = self._clock.monotonic()
            self._wait()

    async def aclose(self) -> None:
        """Publish what was counted last, and no more."""
        if self._publishing:
            self._publishing = False
            if self._timer is not None:
                self._timer.cancel()
            await self._publish(last=True)

    # Reading

    async def read(self, of: CountersOf = "fleet") -> list[InstanceCounts]:
        """Return what each instance has counted since it started, this one's up to now.

        An instance that has ended counts for half a minute more, or six times the seconds between
        two publications. One that has counted nothing is left out.

        Args:
            of: Whose counters: of this ``instance``, of all on this ``machine``, or of the
                ``fleet``; by default of the fleet.

        Raises:
            BadParameter: *of* is none of these.
            SharedUnavailable: The shared store is away; ``instance`` needs none.
        """
        if of not in get_args(CountersOf):
            msg = f"there are no counters of {of!r}; ask for instance, machine or fleet"
            raise BadParameter(msg)
        own = self.here()
        found = [own] if own.counts else []
        if of == "instance":
            return found
        names = [name for name in await self._instances.names() if name != self.instance]
        values = await self._shared.get_many([_COUNTS + name for name in names])
        for name, value in zip(names, values, strict=True):
            if value is not None:
                plain = await self._codecs.decode_off_loop(value, _COUNTS + name)
                found += _made(InstanceCounts.of_data, plain)
        return [one for one in found if of == "fleet" or one.machine == self.machine]

    def here(self) -> InstanceCounts:
        """Return what this instance has counted since it started, up to now.

        On the event loop only: it counts on there.
        """
        tallies = self.tallies
        return InstanceCounts(
            self.instance,
            self.machine,
            _build(),
            self._started,
            self._clock.time(),
            tuple(tallies.counts()),
            tallies.acts,
            dict(tallies.troubles),
            tallies.rebuilt,
        )

    async def alive(self) -> dict[str, float]:
        """Return when each instance has published last, in seconds since the epoch.

        What an instance has counted in a block that ended before then can be read.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        names = await self._instances.names()
        values = await self._shared.get_many([_ALIVE + name for name in names])
        return {
            name: float(value)
            for name, value in zip(names, values, strict=True)
            if value is not None and _SECONDS.fullmatch(value)
        }

    async def blocks(
        self, flag: str, numbers: Iterable[int], instances: Iterable[str] | None = None
    ) -> list[Block]:
        """Return what instances have counted of the subjects of *flag*, which is watched.

        Args:
            flag: The flag's name.
            numbers: Which blocks of time: the seconds since the epoch at which one begins, divided
                by the length of a block.
            instances: Of which instances; by default of all that are alive.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        names = list(await self._instances.names() if instances is None else instances)
        keys = [f"{_BLOCKS}{flag}:{number}:{name}" for number in numbers for name in names]
        found: list[Block] = []
        for key, value in zip(keys, await self._shared.get_many(keys), strict=True):
            if value is not None:
                found += _made(Block.of_data, await self._codecs.decode_off_loop(value, key))
        return found

    # Watching

    @property
    def watched(self) -> Mapping[str, Watch]:
        """The flags whose subjects this instance counts, by name."""
        return self.tallies.watches

    async def watches(self) -> dict[str, Watch]:
        """Return the flags whose subjects the fleet counts now.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        return self._read_watches(await self._shared.get(_WATCHES))

    async def watch(self, watch: Watch) -> None:
        """Have every instance count the subjects of a flag from its next publication on.

        Args:
            watch: The flag, and how its subjects are counted; it replaces what was so before.

        Raises:
            SharedUnavailable: The shared store is away.
            BadParameter: Too many flags are watched, or others change what is watched without end.
        """
        await self._change_watches(lambda watches: {**watches, watch.flag: watch})

    async def unwatch(self, flag: str) -> None:
        """Have no instance count the subjects of *flag* any more.

        Raises:
            SharedUnavailable: The shared store is away.
            BadParameter: Others change what is watched without end.
        """
        await self._change_watches(lambda all_: {n: one for n, one in all_.items() if n != flag})

    def listen(self, listener: Served) -> Callable[[], None]:
        """Show *listener* a random sample of the answers that are served here.

        It is called with the call, the outcome, the name of the layer that had the answer or "",
        and for how many answers that one stands: 64; while a flag is watched 16, and 4 in its arms.
        That happens on the event loop, and it must neither block nor raise.

        Returns:
            A function that ends it.
        """
        return self.tallies.listen(listener)

    def audited(self, call: Call, *, wrong: bool, distance: float = 0.0) -> None:
        """Count that an answer served here was checked, for its subject in each watched flag.

        Args:
            call: What was asked.
            wrong: Whether the answer was wrong.
            distance: How far it was from a fresh one, relative to that.
        """
        self.tallies.audited(call, wrong=wrong, distance=distance)

    def shadow(self, layer: str, operation: str) -> ShadowResult:
        """Return what *layer*, in shadow, would have done here with the calls of *operation*.

        What the whole fleet has counted is in the :attr:`~argo_mw.plugin.Counts.shadows` that
        :meth:`read` returns.

        Args:
            layer: The layer's name.
            operation: The operation's name.
        """
        return self.tallies.shadow(layer, operation)

    def follow(self, follower: Callable[[], Awaitable[None]]) -> None:
        """Await *follower* after each publication that is due, for what goes along with them."""
        self._followers.append(follower)

    async def publish(self) -> bool:
        """Publish what was counted, now; return whether the store has taken it."""
        return await self._publish()

    def _wait(self) -> None:
        """Wait for the next publication, or for the end of a block before that."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._clock.monotonic()
        while self._due <= now:
            self._due += self._every
        when = min(self._due, now + max(self.tallies.next_close(), _LEAST_PAUSE))
        self._timer = self._clock.call_at(when, self._ring)

    def _follow(self, watches: Mapping[str, Watch]) -> None:
        """Count the subjects of *watches*, and publish their blocks as they end."""
        self.tallies.watch(watches)
        if self._publishing:
            self._wait()

    def _ring(self) -> None:
        with suppress(Closed):
            self._tasks.spawn("counters", self._take_turn())

    async def _take_turn(self) -> None:
        self._collect_blocks()
        due = self._clock.monotonic() >= self._due
        if self._pending or due:
            await self._publish()
        if self._publishing:
            self._wait()
        for follower in self._followers if due else ():
            await follower()

    async def _publish(self, *, last: bool = False) -> bool:
        limit = self._clock.monotonic() + _TIMEOUT
        try:
            await fail_at(self._exchange(last=last), limit, self._clock)
        except (SharedUnavailable, TimeLimitExceeded, Closed):
            return False
        except Exception as error:
            log.warning("the counters of this instance were not published", error=str(error))
            return False
        return True

    async def _exchange(self, *, last: bool) -> None:
        """Write what was counted, and learn what is to be watched."""
        if last:
            # Blocks that have not ended are all that is left of this instance.
            self._pending |= self._encoded(self.tallies.end_blocks())
        at = self._clock.time()
        self._collect_blocks()
        own = self.here()
        if own.counts:
            await self._instances.announce(self.instance, at)
            key = _COUNTS + self.instance
            counts = {key: self._codecs.encode(own.as_data(), key)}
            blocks = dict(self._pending)
            if blocks:
                await self._shared.set_many(blocks, ttl=BLOCK_TTL)
                for written in blocks:
                    self._pending.pop(written, None)
            # Last, since readers rely on the blocks being there.
            counts[_ALIVE + self.instance] = f"{at:.3f}".encode()
            await self._shared.set_many(counts, ttl=self._ttl)
        if not last:
            self._follow(await self.watches())

    def _collect_blocks(self) -> None:
        self._pending |= self._encoded(self.tallies.close_blocks())
        while len(self._pending) > MAX_WATCHES * 60:
            del self._pending[next(iter(self._pending))]

    def _encoded(self, blocks: Iterable[tuple[str, Block]]) -> dict[str, bytes]:
        encoded = {}
        for flag, block in blocks:
            key = f"{_BLOCKS}{flag}:{block.number}:{self.instance}"
            encoded[key] = self._codecs.encode(block.as_data(), key)
        return encoded

    def _read_watches(self, value: bytes | None) -> dict[str, Watch]:
        plain = None if value is None else self._codecs.decode(value, _WATCHES)
        now = self._clock.time()
        found = {}
        for flag, data in plain.items() if isinstance(plain, dict) else ():
            for watch in _made(partial(Watch.of_data, str(flag)), data):
                if watch.until > now:
                    found[watch.flag] = watch
        return found

    async def _change_watches(
        self, change: Callable[[Mapping[str, Watch]], Mapping[str, Watch]]
    ) -> None:
        for _ in range(_TRIES):
            value = await self._shared.get(_WATCHES)
            watches = change(self._read_watches(value))
            if len(watches) > MAX_WATCHES:
                flags = ", ".join(sorted(watches))
                msg = f"at most {MAX_WATCHES} flags are watched at once, not all of {flags}"
                raise BadParameter(msg)
            data = {flag: watch.as_data() for flag, watch in watches.items()}
            changed = self._codecs.encode(data, _WATCHES)
            if await self._shared.compare_and_set(_WATCHES, value, changed):
                self.start()
                self._follow(watches)
                return
        msg = "what is watched was changed by others at each try; try again"
        raise BadParameter(msg)


def _made(make: Callable[[object], T], data: object) -> Sequence[T]:
    """Return what *make* makes of *data*, or nothing where it is of another version."""
    try:
        return [make(data)]
    except ValueError:
        return []


@cache
def _build() -> str:
    try:
        return version("argo-mw")
    except PackageNotFoundError:
        return ""


def _machine() -> str:
    """Return the machine's name, as far as it fits into a key."""
    return _NOT_IN_NAMES.sub("_", platform.node())[:64] or "machine"
