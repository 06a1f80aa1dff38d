"""Loads: questions that are on their way to an upstream, known to every flight of this process.

Two flights may ask one question at once: a refresh in the background beside a call, callers that
differ in ``max_age``, flights of the chains before and after a change of flags or settings. They
meet here, behind the caches, and the second one takes what the first one gets.
"""

from __future__ import annotations

from argo_mw.plugin import Call, Context, Middleware, Next, Outcome
from argo_mw.store import Freshness, TagSnapshot
from argo_mw_coalesce.flight import Flight
from argo_mw_coalesce.load_start import LOAD_START, LoadStart

NAME = "coalesce.loads"


class Loads:
    """Lets a load that is under way answer the equal loads of other flights.

    The flight that began it carries it out. If that one is cancelled, another loads for itself.

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
        while (load := self._loads.get(call.branch_key)) is not None and self._serves(load, call):
            try:
                outcome = await load.join().wait()
            except _Left:
                continue
            if await self._is_valid(outcome, load.before, call):
                return outcome
        return await self._load(start, call, call_next)

    def explain(self, call: Call) -> str:
        """Say what it does for *call*."""
        return "would take what another flight of this process loads for it, if one does"

    def take_over(self, previous: Middleware) -> None:
        """Know the loads of *previous*, which goes on to know those of this one."""
        if isinstance(previous, Loads):
            self._loads = previous._loads

    def _serves(self, load: _Load, call: Call) -> bool:
        """Return whether what *load* gets is as new as what *call* would get."""
        if call.max_age is not None and self._monotonic() - load.began > call.max_age:
            return False
        return self._versions.peek(load.before) is Freshness.FRESH

    async def _is_valid(self, outcome: Outcome, before: TagSnapshot, call: Call) -> bool:
        """Return whether nothing that *outcome* depends on has changed since the load began.

        The caches of this flight would compare it with versions from after that.
        """
        if outcome.tags != call.tags or outcome.versions:
            before = await self._versions.extend(before, outcome.tags, outcome.versions)
        return await self._versions.check(before) is Freshness.FRESH

    async def _load(self, start: LoadStart, call: Call, call_next: Next) -> Outcome:
        key = call.branch_key
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


class _Load:
    """A load, and the flights that wait for what another one gets.

    Attributes:
        before: The versions that the call's tags had before it began.
        began: Monotonic seconds.
        others: How the others wait, once there are any. The flight that carries the load out gets
            its outcome in the same way then, so that it has a value of its own.
    """

    __slots__ = ("before", "began", "others")

    def __init__(self, before: TagSnapshot, began: float) -> None:
        self.before = before
        self.began = began
        self.others: Flight | None = None

    def join(self) -> Flight:
        """Return what to wait for."""
        if self.others is None:
            self.others = Flight(lambda _: None)
            self.others.joined = 1  # by the one that carries it out
        return self.others


class _Left(Exception):
    """The flight that carried the load out was cancelled."""
