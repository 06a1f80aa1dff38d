"""Loads: flights of this process that ask an upstream the same question share one load.

Several flights may ask one question at once: a refresh in the background beside a call, callers
with different ``max_age``, flights of the chains before and after a change of flags or settings.
They meet here, inside of the caches, and the later ones take the outcome of the first.
"""

from __future__ import annotations

from msgspec import Struct

from argo_mw.plugin import Call, Context, Middleware, Next, Outcome
from argo_mw.store import Freshness, TagSnapshot
from argo_mw_coalesce.flight import Flight
from argo_mw_coalesce.load_start import LOAD_START, LoadStart

NAME = "coalesce.loads"


class Loads:
    """Lets a load that is under way answer the equal loads of other flights.

    The flight that began the load carries it out. If that is cancelled, each of the others goes on:
    the first of them begins a new load.

    Args:
        context: The application's context.
    """

    def __init__(self, context: Context) -> None:
        self._versions = context.tag_versions
        self._monotonic = context.clock.monotonic
        self._loads: dict[str, _Load] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the outcome of the load that is under way, or of one that begins now."""
        start = call.extensions.get(LOAD_START)
        if not isinstance(start, LoadStart):
            return await call_next(call)
        key = call.branch_key
        while (load := self._loads.get(key)) is not None and self._serves(load, call):
            try:
                outcome = await load.join().wait()
            except _Left:
                continue
            if await self._is_valid(outcome, load.before, call):
                return outcome
        return await self._load(key, start, call, call_next)

    def explain(self, call: Call) -> str:
        """Describe how *call* would share its load with other flights."""
        return "would take what another flight of this process loads for it, if one does"

    def take_over(self, previous: Middleware) -> None:
        """Share the loads of *previous*, whose calls may go on to start some."""
        if isinstance(previous, Loads):
            self._loads = previous._loads

    def _serves(self, load: _Load, call: Call) -> bool:
        """Return whether the outcome of *load* will be new enough for *call*."""
        if call.max_age is not None and self._monotonic() - load.began > call.max_age:
            return False
        return self._versions.peek(load.before) is Freshness.FRESH

    async def _is_valid(self, outcome: Outcome, before: TagSnapshot, call: Call) -> bool:
        """Return whether all tags of *outcome* have the versions from *before* its load.

        The caches of this flight cannot tell: they know only versions read after that.
        """
        if outcome.tags != call.tags or outcome.versions:
            before = await self._versions.extend(before, outcome.tags, outcome.versions)
        return await self._versions.check(before) is Freshness.FRESH

    async def _load(self, key: str, start: LoadStart, call: Call, call_next: Next) -> Outcome:
        load = self._loads[key] = _Load(start.tag_snapshot, self._monotonic())
        try:
            outcome = await call_next(call)
        except Exception as error:
            if load.others is None:
                raise
            load.others.fail(error)
        except BaseException:
            if load.others is not None:
                load.others.fail(_Left())
            raise
        else:
            if load.others is None:
                return outcome
            load.others.land(outcome)
        finally:
            if self._loads.get(key) is load:
                del self._loads[key]
        return await load.others.wait()


class _Load(Struct, eq=False):
    """A load, and the other flights that wait for its outcome.

    Attributes:
        before: The versions that the call's tags had before it began.
        began: When it began, in monotonic seconds.
        others: What the other flights wait for; ``None`` before there are any. Then the flight that
            carries out the load waits for it too, so that each gets a copy of its own.
    """

    before: TagSnapshot
    began: float
    others: Flight | None = None

    def join(self) -> Flight:
        """Return what another flight waits for."""
        if self.others is None:
            self.others = Flight(lambda _: None)
            self.others.joined = 1  # the flight that carries out the load
        return self.others


class _Left(Exception):
    """The flight that carried out the load was cancelled."""
