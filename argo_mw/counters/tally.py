"""Tallies: what is counted while calls go through the chain, on the path of every call.

A memory hit pays for a subtraction and two tests, and where a flag is watched for being noted.
Everything else happens where a call has waited, to one answer in 64, and when a block ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from typing import Final

from argo_mw.base.clock import Clock
from argo_mw.base.histogram import Histogram
from argo_mw.counters.accumulators import (
    OTHER,
    SAMPLED,
    SAMPLED_IN_ARMS,
    SAMPLED_WHILE_WATCHED,
    Cell,
    Sent,
    Watched,
    gap,
)
from argo_mw.counters.counts import BLAMELESS, Arms, Counts
from argo_mw.counters.shadow_result import ShadowResult
from argo_mw.counters.upstream_counts import UpstreamCounts
from argo_mw.model.call import Call
from argo_mw.model.events import Shadowed
from argo_mw.model.outcome import NO_COST, Attempt, Cost, Outcome

_MAX_KINDS: Final = 64
_MOST_USD: Final = 1e9
_MAX_HITS: Final = 2_048

Served = Callable[[Call, Outcome, str, int], None]
"""Is shown a call, the answer that was served, the layer that had it, or "", and for how many
answers that one stands."""


class Tally:
    """Counts the calls of one operation in one combination of flag arms.

    Attributes:
        operation: The operation's name.
        arms: The arms.
        flags: The flags that any of its calls may depend on.
        watched: Those of them whose subjects are counted now.
        served: Is shown a sample of what is served.
    """

    __slots__ = (
        "_cells",
        "_clock",
        "_counts",
        "_every",
        "_hits",
        "_sent",
        "_to_pass_over",
        "_waits",
        "arms",
        "flags",
        "operation",
        "served",
        "watched",
    )

    def __init__(self, operation: str, arms: Arms, clock: Clock) -> None:
        self.operation = operation
        self.arms = arms
        self.flags: Set[str] = frozenset()
        self.watched: tuple[Watched, ...] = ()
        self.served: Served | None = None
        self._clock = clock
        self._cells: dict[str, Cell] = {}
        self._sent: dict[str, Sent] = {}
        self._hits: list[Call] = []
        self._waits: list[float] = []
        self._counts = Counts(operation, arms)
        self._every = SAMPLED
        self._to_pass_over = gap(SAMPLED)

    def cell(self, layer: str) -> Cell:
        """Return the counter of the answers that *layer* has at hand."""
        found = self._cells.get(layer)
        if found is None:
            found = self._cells[layer] = Cell(layer)
            found.note = self._hits.append if self.watched else None
            found.begin(self._every)
        return found

    def watch(self, watched: tuple[Watched, ...], *, any_flag: bool) -> None:
        """Count subjects for *watched* from now on, and for no others.

        *any_flag* says whether any flag is watched, though maybe none of these calls.
        """
        self.settle()
        self.watched = watched
        before = self._every
        if any(name == one.flag for one in watched for name, _ in self.arms):
            self._every = SAMPLED_IN_ARMS
        else:
            self._every = SAMPLED_WHILE_WATCHED if any_flag else SAMPLED
        for cell in self._cells.values():
            cell.note = self._hits.append if watched else None
            if self._every != before:
                cell.begin(self._every)
        self._to_pass_over = gap(self._every)

    def look(self, cell: Cell, call: Call, outcome: Outcome) -> None:
        """Look at an answer at hand, as one of a sample."""
        cell.begin(self._every)
        if len(self._hits) >= _MAX_HITS:
            self.settle()
        self._sample(call, outcome, cell.layer)

    def settle(self) -> None:
        """Count the answers at hand that were noted, for their subjects.

        Each is noted by its call alone: calls that are asked again are the same object.
        """
        if self._hits:
            noted = Counter(self._hits)
            self._hits.clear()
            for watched in self.watched:
                for call, hits in noted.items():
                    subject = watched.of(call)
                    subject.calls += hits
                    subject.hits += hits

    def answered(self, call: Call, outcome: Outcome, seconds: float, layer: str = "") -> None:
        """Count an answer for which its caller has waited.

        Args:
            call: The question.
            outcome: The answer.
            seconds: How long its caller has waited.
            layer: The layer that had the answer; by default what the answer itself says.
        """
        counts = self._counts
        if call.refresh:
            counts.refreshes += 1
            return
        if not layer and outcome.via and not outcome.attempts:
            layer = outcome.via[-1]
        if layer:
            counts.hits[layer] = counts.hits.get(layer, 0) + 1
        else:
            counts.loads += 1
        self._waits.append(seconds)
        if self.watched:
            self._waited(call, seconds)
        self._to_pass_over -= 1
        if self._to_pass_over < 0:
            self._to_pass_over = gap(self._every)
            self._count_waits()
            self._sample(call, outcome, layer)

    def failed(self, call: Call, error: BaseException, seconds: float) -> None:
        """Count *error*, in which *call* ended after *seconds*."""
        if call.refresh:
            return
        kind = type(error).__qualname__
        errors = self._counts.errors
        if kind not in errors and len(errors) >= _MAX_KINDS:
            kind = OTHER
        errors[kind] = errors.get(kind, 0) + 1
        if kind == "CancelledError":
            self._left(call, seconds)
            return
        self._counts.latency.add(seconds)
        if self.watched:
            self._waited(call, seconds, error=kind not in BLAMELESS)

    def sent(
        self, call: Call, upstream: str, requests: float, cost: Cost, *, further: bool = False
    ) -> None:
        """Count *requests* to *upstream*, a share of one perhaps, that *call* took.

        Args:
            call: The question.
            upstream: The upstream's name.
            requests: How many.
            cost: What they cost; :data:`NO_COST` also where that is counted by itself.
            further: Whether they are for a call that was counted there already.
        """
        sent = self._sent.get(upstream) or self._begin(upstream)
        sent.requests += requests
        if not further:
            sent.asked += 1
        usd = 0.0 if cost is NO_COST else self._spent(cost, sent.counts)
        for watched in self.watched:
            subject = watched.of(call)
            subject.requests += requests
            subject.usd += usd

    def attempted(self, attempt: Attempt, status: str) -> None:
        """Count that *attempt* ended in *status*."""
        sent = self._sent.get(attempt.upstream) or self._begin(attempt.upstream)
        counts = sent.counts
        counts.ended[status] = counts.ended.get(status, 0) + 1
        if status == "ok":
            counts.latency.add(attempt.latency)

    def model_answered(
        self, upstream: str, task: str, cost: Cost, error: str, seconds: float | None
    ) -> None:
        """Count what a model did for a call.

        Args:
            upstream: The model's upstream.
            task: What the model was asked to do; "" is to answer a conversation.
            cost: What the call cost; it names the model.
            error: The class of the error that it ended in, or "".
            seconds: How long that took; ``None`` where another call of the request counts that.
        """
        sent = self._sent.get(upstream) or self._begin(upstream)
        counts = sent.model(cost.model, task)
        counts.tokens_in += cost.tokens_in
        counts.tokens_out += cost.tokens_out
        counts.tokens_cached += cost.tokens_cached
        counts.tokens_written += cost.tokens_written
        counts.tokens_reasoned += cost.tokens_reasoned
        counts.usd += _known_usd(cost) or 0.0
        if seconds is not None:
            durations = counts.durations
            if error not in durations and len(durations) >= _MAX_KINDS:
                error = OTHER
            found = durations.get(error)
            if found is None:
                found = durations[error] = Histogram()
            found.add(seconds)

    def model_began(self, upstream: str, task: str, model: str, seconds: float) -> None:
        """Count that the first piece of a stream has come after *seconds*."""
        sent = self._sent.get(upstream) or self._begin(upstream)
        sent.model(model, task).first_chunks.add(seconds)

    def saved(self, layer: str, cost: Cost) -> None:
        """Count that an answer of *layer* would have had *cost*."""
        saved = self._counts.saved_usd
        if layer in saved or len(saved) < _MAX_KINDS:
            saved[layer] = saved.get(layer, 0.0) + (_known_usd(cost) or 0.0)

    def shadowed(self, event: Shadowed) -> None:
        """Count what a layer in shadow would have done."""
        shadows = self._counts.shadows
        if event.layer in shadows or len(shadows) < _MAX_KINDS:
            shadows.setdefault(event.layer, ShadowResult()).count(event)

    def audit(self, requests: float) -> None:
        """Count *requests* that were sent to check an answer."""
        self._counts.audits += requests

    def counts(self) -> Counts:
        """Return what was counted until now."""
        self._count_waits()
        found = Counts(self.operation, self.arms)
        found.add(self._counts)
        found.requests = sum(sent.requests for sent in self._sent.values())
        found.requests_to = {name: sent.requests for name, sent in self._sent.items()}
        found.asked = {name: sent.asked for name, sent in self._sent.items()}
        for name, sent in self._sent.items():
            if sent.counts != _NOTHING:
                found.upstreams.setdefault(name, UpstreamCounts()).add(sent.counts)
        for layer, cell in self._cells.items():
            if cell.count:
                found.at_hand += cell.count
                found.hits[layer] = found.hits.get(layer, 0) + cell.count
        return found

    def _count_waits(self) -> None:
        """Put the waits that were noted into their histogram, in a third of the time."""
        self._counts.latency.add_all(self._waits)
        self._waits.clear()

    def _sample(self, call: Call, outcome: Outcome, layer: str) -> None:
        if outcome.as_of is not None:
            self._counts.age.add(max(0.0, self._clock.time() - outcome.as_of), self._every)
        if self.served is not None:
            self.served(call, outcome, layer, self._every)

    def _begin(self, upstream: str) -> Sent:
        sent = self._sent[upstream] = Sent()
        return sent

    def _spent(self, cost: Cost, of_upstream: UpstreamCounts) -> float:
        """Count *cost*, and return what is known of it in US dollars."""
        counts = self._counts
        counts.tokens_in += cost.tokens_in
        counts.tokens_out += cost.tokens_out
        counts.tokens_cached += cost.tokens_cached
        usd = _known_usd(cost)
        if usd is None:
            counts.unpriced += 1
            of_upstream.unpriced += 1
            return 0.0
        counts.usd += usd
        of_upstream.usd += usd
        return usd

    def _left(self, call: Call, seconds: float) -> None:
        """Count a call whose caller left, if it was slow by then.

        Callers with short timeouts would otherwise hide what makes answers slow.
        """
        for watched in self.watched:
            if seconds > watched.slow:
                subject = watched.of(call)
                subject.calls += 1
                subject.slow += 1
                subject.slowest += seconds > watched.slowest
                subject.seconds += seconds

    def _waited(self, call: Call, seconds: float, *, error: bool = False) -> None:
        for watched in self.watched:
            subject = watched.of(call)
            subject.calls += 1
            subject.errors += error
            subject.slow += seconds > watched.slow
            subject.slowest += seconds > watched.slowest
            subject.seconds += seconds


_NOTHING: Final = UpstreamCounts()


def _known_usd(cost: Cost) -> float | None:
    """Return the US dollars of *cost*, or ``None`` where they are unknown, or impossible."""
    usd = cost.usd
    return usd if usd is not None and 0.0 <= usd <= _MOST_USD else None
