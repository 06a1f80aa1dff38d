"""The tallies of one instance, and the blocks of time in which subjects are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from math import inf
from typing import Final

from argo_mw.base.clock import Clock
from argo_mw.base.errors import StreamAborted
from argo_mw.counters.accumulators import OTHER
from argo_mw.counters.counts import Arms, Counts
from argo_mw.counters.shadow_result import ShadowResult
from argo_mw.counters.subject_counts import Block
from argo_mw.counters.tally import Served, Tally
from argo_mw.counters.watched_flags import Watch, Watching
from argo_mw.model.call import NOTHING, Call
from argo_mw.model.charge import Charge
from argo_mw.model.events import Shadowed
from argo_mw.model.outcome import NO_COST, Attempt, Outcome
from argo_mw.model.stream import Stream
from argo_mw.model.upstream import Upstream

AUDIT: Final = "argo.audit"
"""The extension of calls that check an answer: their requests are counted as audits alone."""

MAX_WATCHES: Final = 8
"""Flags whose subjects are counted at once."""

_MAX_TALLIES: Final = 2_000
_MAX_ACTS: Final = 500
_MAX_TROUBLES: Final = 500


class Tallies:
    """Everything that one instance counts.

    Attributes:
        instance: The instance's name.
        known_acts: How often a layer did what, by both: those that are known already.
        troubles: How many problems were reported, by where.
        rebuilt: How often the chains were built.
    """

    def __init__(self, clock: Clock, instance: str = "here") -> None:
        self.instance = instance
        self.troubles: Counter[str] = Counter()
        self.rebuilt = 0
        self._clock = clock
        self._tallies: dict[tuple[str, Arms], Tally] = {}
        self._watching: dict[str, Watching] = {}
        self.known_acts: dict[tuple[str, str], int] = {}
        self._listeners: list[Served] = []
        self._served: Served | None = None
        self._tally_of: Callable[[Call], Tally | None] = _none

    def acted(self, layer: str, act: str) -> None:
        """Count that *layer* did *act*, which is not an answer."""
        acts = self.known_acts
        key = (layer, act)
        if key in acts or len(acts) < _MAX_ACTS:
            acts[key] = acts.get(key, 0) + 1

    @property
    def acts(self) -> dict[str, dict[str, int]]:
        """How often each layer did what: by layer and act."""
        found: dict[str, dict[str, int]] = {}
        for (layer, act), count in self.known_acts.items():
            found.setdefault(layer, {})[act] = count
        return found

    def use(self, tally_of: Callable[[Call], Tally | None]) -> None:
        """Find the tallies of calls by *tally_of* from now on."""
        self._tally_of = tally_of

    def tally(self, operation: str, arms: Arms, flags: Set[str]) -> Tally:
        """Return the tally of *operation* in *arms*, whose calls may depend on *flags*."""
        found = self._tallies.get((operation, arms))
        if found is None:
            if len(self._tallies) >= _MAX_TALLIES:
                operation, arms = OTHER, ()
                found = self._tallies.get((operation, arms))
            if found is None:
                found = self._tallies[operation, arms] = Tally(operation, arms, self._clock)
        found.flags = flags
        self._attach(found)
        return found

    def counts(self) -> list[Counts]:
        """Return what was counted until now, of each tally that has counted anything."""
        found = [tally.counts() for tally in self._tallies.values()]
        return [one for one in found if one]

    # Requests

    def sent(
        self,
        upstream: Upstream,
        call: Call,
        answer: Outcome | BaseException,
        requests: float = 1.0,
        began: float | None = None,
    ) -> None:
        """Count *requests* to *upstream*, or a share of one, that *call* took.

        Args:
            upstream: The upstream.
            call: The question.
            answer: What the request ended in.
            requests: How many.
            began: When it was sent, by the monotonic clock; ``None`` where its duration is of no
                interest, or counted for another call.
        """
        tally = self._tally_of(call)
        if tally is None:
            return
        kind = call.operation.kind
        if kind == "compute":
            requests = 0.0
        if call.extensions is not NOTHING and AUDIT in call.extensions:
            tally.audit(requests)
        elif isinstance(answer, Outcome) and isinstance(answer.value, Stream):
            tally.sent(call, upstream.name, requests, NO_COST)
            self._follow(tally, call, upstream.name, answer, answer.value, began)
        else:
            cost = answer.cost if isinstance(answer, Outcome) else upstream.cost_of(call, answer)
            tally.sent(call, upstream.name, requests, cost)
            if kind == "llm":
                error = "" if isinstance(answer, Outcome) else type(answer).__qualname__
                seconds = self._since(began)
                tally.model_answered(upstream.name, _task_of(call), cost, error, seconds)

    def sent_many(
        self,
        upstream: Upstream,
        calls: Sequence[Call],
        answers: Sequence[Outcome | BaseException],
        began: float,
    ) -> None:
        """Count the request to *upstream* that *calls* shared, which ended in *answers*."""
        when: float | None = began
        for call, answer in zip(calls, answers, strict=True):
            self.sent(upstream, call, answer, 1.0 / len(calls), when)
            when = None

    def sent_extra(self, call: Call) -> None:
        """Count one more request for *call*, such as a further page."""
        tally = self._tally_of(call)
        if tally is not None and AUDIT in call.extensions:
            tally.audit(1.0)
        elif tally is not None:
            tally.sent(call, call.upstream or "", 1.0, NO_COST, further=True)

    def attempted(self, call: Call, attempt: Attempt, *, absent: bool = False) -> None:
        """Count how *attempt* to answer *call* went; *absent* if there is nothing to be had."""
        if call.operation.kind == "compute":
            return
        if call.extensions is not NOTHING and AUDIT in call.extensions:
            return
        tally = self._tally_of(call)
        if tally is not None:
            tally.attempted(attempt, "absent" if absent else attempt.status)

    def _follow(
        self,
        tally: Tally,
        call: Call,
        upstream: str,
        outcome: Outcome,
        stream: Stream[object],
        began: float | None,
    ) -> None:
        """Count what *stream*, which answers *call*, costs and how long it takes."""

        def ended(stream: Stream[object]) -> None:
            cost = outcome.cost if stream.cost is None else stream.cost
            tally.sent(call, upstream, 0.0, cost, further=True)
            if call.operation.kind == "llm":
                error = StreamAborted.__qualname__ if stream.aborted else ""
                seconds = self._since(began)
                tally.model_answered(upstream, _task_of(call), cost, error, seconds)

        def first_came() -> None:
            seconds = self._clock.monotonic() - since
            tally.model_began(upstream, _task_of(call), outcome.cost.model, seconds)

        if began is not None and call.operation.kind == "llm":
            since = began
            stream.on_first(first_came)
        stream.on_done(ended)

    def _since(self, began: float | None) -> float | None:
        return None if began is None else self._clock.monotonic() - began

    # Problems and savings

    def troubled(self, where: str) -> None:
        """Count a problem that was reported at *where*."""
        if where not in self.troubles and len(self.troubles) >= _MAX_TROUBLES:
            where = OTHER
        self.troubles[where] += 1

    def saved(self, charge: Charge) -> None:
        """Count what a layer has saved."""
        tally = self._tallies.get((charge.operation, ()))
        if tally is None:
            tally = self.tally(charge.operation, (), frozenset())
        tally.saved(charge.layer, charge.cost)

    # Layers in shadow

    def shadowed(self, event: Shadowed) -> None:
        """Count what a layer in shadow would have done."""
        tally = self._tally_of(event.call)
        if tally is not None:
            tally.shadowed(event)

    def shadow(self, layer: str, operation: str) -> ShadowResult:
        """Return what *layer*, in shadow, would have done with the calls of *operation*."""
        found = ShadowResult()
        for counts in self.counts():
            if counts.operation == operation and layer in counts.shadows:
                found.add(counts.shadows[layer])
        return found

    # Served answers

    def listen(self, listener: Served) -> Callable[[], None]:
        """Show *listener* a random sample of what is served; call what this returns to end it."""
        self._listeners.append(listener)
        self._show_served()

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)
                self._show_served()

        return end

    def audited(self, call: Call, *, wrong: bool, distance: float) -> None:
        """Count that the answer served to *call* was checked, for the subject of each watch."""
        tally = self._tally_of(call)
        for watched in () if tally is None else tally.watched:
            subject = watched.of(call)
            subject.audits += 1
            subject.wrong += wrong
            subject.distance += distance

    def _show_served(self) -> None:
        listeners = tuple(self._listeners)

        def served(call: Call, outcome: Outcome, layer: str, weight: int) -> None:
            for listener in listeners:
                listener(call, outcome, layer, weight)

        self._served = served if listeners else None
        for tally in self._tallies.values():
            tally.served = self._served

    # Subjects

    @property
    def watches(self) -> Mapping[str, Watch]:
        """The watches of now, by flag."""
        return {flag: watching.watch for flag, watching in self._watching.items()}

    def watch(self, watches: Mapping[str, Watch]) -> None:
        """Count the subjects of the flags of *watches*, and of no others; the first eight of them.

        What was counted of a flag that is still watched is kept.
        """
        now = self._clock.time()
        due = sorted(flag for flag, watch in watches.items() if watch.until > now)[:MAX_WATCHES]
        wanted = {flag: watches[flag] for flag in due}
        if wanted == self.watches:
            return
        before = self._watching
        self._watching = {}
        for flag, watch in wanted.items():
            known = before.get(flag)
            if known is None or known.watch.seconds != watch.seconds:
                known = Watching(watch, now)
            known.watch = watch
            self._watching[flag] = known
        for tally in self._tallies.values():
            self._attach(tally)

    def close_blocks(self) -> list[tuple[str, Block]]:
        """End the blocks whose time is over; return those in which anything was counted."""
        now = self._clock.time()
        self._settle()
        closed = [(flag, one.close(self.instance, now)) for flag, one in self._watching.items()]
        return [(flag, block) for flag, block in closed if block is not None]

    def end_blocks(self) -> list[tuple[str, Block]]:
        """End the current blocks before their time: nothing is counted here any more."""
        self._settle()
        closed = [(f, one.close(self.instance, one.ends)) for f, one in self._watching.items()]
        return [(flag, block) for flag, block in closed if block is not None]

    def _settle(self) -> None:
        for tally in self._tallies.values() if self._watching else ():
            tally.settle()

    def next_close(self) -> float:
        """Return the seconds until a block ends, without end where there is none."""
        now = self._clock.time()
        ends = [one.ends for one in self._watching.values()]
        return max(0.0, min(ends, default=inf) - now)

    def blocks(self, flag: str) -> Sequence[Block]:
        """Return the newest blocks of *flag* that have ended, the oldest first."""
        self.close_blocks()
        watching = self._watching.get(flag)
        return () if watching is None else tuple(watching.closed)

    def _attach(self, tally: Tally) -> None:
        watching = self._watching.items()
        seen = tuple(one.seen_by(tally) for flag, one in watching if flag in tally.flags)
        tally.watch(seen, any_flag=bool(watching))
        tally.served = self._served


def _none(_: Call) -> Tally | None:
    return None


def _task_of(call: Call) -> str:
    task = call.operation.task
    return "" if task is None else task(call.parameters)
