"""Counts: what was counted of one operation in one combination of arms, as mergeable values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, evolve, field, frozen

from argo_mw.base.histogram import Histogram
from argo_mw.counters.plain_data import grown, list_of, mapping_of, numbers_of
from argo_mw.counters.shadow_result import ShadowResult
from argo_mw.counters.upstream_counts import UpstreamCounts

Arms = tuple[tuple[str, str], ...]


@define
class Counts:
    """What was counted of one operation in one combination of flag arms.

    Attributes:
        operation: The operation's name.
        arms: The arms of the flags that are being ramped, by flag: ``treatment`` or ``control``;
            of calls in neither, nothing.
        at_hand: Answers that were served without waiting, from memory.
        hits: Answers that a layer had, those at hand included, by layer.
        loads: Answers that came from an upstream.
        errors: Calls that ended in an error, by the name of its class; ``CancelledError``
            counts calls whose caller left.
        refreshes: Answers that were asked again in the background, for no caller.
        requests: Requests to upstreams; calls may share one. Computed operations send none.
        requests_to: The same by upstream.
        asked: Calls that requests were to answer, by upstream: with *requests_to*, how many calls
            share a request there.
        tokens_in: Tokens sent.
        tokens_out: Tokens received.
        tokens_cached: The tokens sent that upstreams read from caches of their own.
        usd: US dollars, of the requests whose price is known.
        unpriced: Calls whose requests have no known price.
        audits: Requests that were sent to check what was served, in no other count.
        latency: Seconds that callers waited whose answer was not at hand.
        age: How old answers were when they were served, in seconds: of one in 64, or of more while
            a flag is watched, each of which counts for the others too.
        shadows: What layers in shadow would have done, by layer.
        upstreams: How attempts went, by upstream. Of computed operations there are none.
        saved_usd: US dollars that the answers of layers would have cost, by layer, where a plugin
            knows that.
    """

    operation: str
    arms: Arms = ()
    at_hand: int = 0
    hits: dict[str, int] = field(factory=dict)
    loads: int = 0
    errors: dict[str, int] = field(factory=dict)
    refreshes: int = 0
    requests: float = 0.0
    requests_to: dict[str, float] = field(factory=dict)
    asked: dict[str, int] = field(factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    usd: float = 0.0
    unpriced: int = 0
    audits: float = 0.0
    latency: Histogram = field(factory=Histogram)
    age: Histogram = field(factory=Histogram)
    shadows: dict[str, ShadowResult] = field(factory=dict)
    upstreams: dict[str, UpstreamCounts] = field(factory=dict)
    saved_usd: dict[str, float] = field(factory=dict)

    def __bool__(self) -> bool:
        """Whether anything was counted."""
        known = (self.shadows, self.upstreams, self.saved_usd)
        return any((self.calls, self.requests, self.refreshes, self.audits, *known))

    @property
    def calls(self) -> int:
        """How many calls ended."""
        return sum(self.hits.values()) + self.loads + sum(self.errors.values())

    @property
    def failures(self) -> int:
        """How many calls ended in an error that counts against what answered them."""
        return sum(n for kind, n in self.errors.items() if kind not in BLAMELESS)

    @property
    def hit_rate(self) -> float | None:
        """The share of calls that a layer answered, or ``None`` without calls."""
        return sum(self.hits.values()) / self.calls if self.calls else None

    def percentile(self, share: float) -> float | None:
        """Return the seconds that *share* of all calls did not exceed; ``None`` without calls."""
        return self.latency.quantile(share, zeros=self.at_hand)

    def add(self, other: Counts) -> None:
        """Count what *other* has counted, too."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _BY_NAME:
            mine: dict[str, float] = getattr(self, name)
            for key, count in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + count
        self.latency.merge(other.latency)
        self.age.merge(other.age)
        for layer, result in other.shadows.items():
            self.shadows.setdefault(layer, ShadowResult()).add(result)
        for upstream, counts in other.upstreams.items():
            self.upstreams.setdefault(upstream, UpstreamCounts()).add(counts)

    def since(self, before: Counts) -> Counts:
        """Return what was counted after *before*, an earlier state of these counts; no shadows."""
        found = Counts(self.operation, self.arms)
        for name in _NUMBERS:
            setattr(found, name, max(0, getattr(self, name) - getattr(before, name)))
        for name in _BY_NAME:
            setattr(found, name, grown(getattr(self, name), getattr(before, name)))
        found.latency = self.latency.since(before.latency)
        found.age = self.age.since(before.age)
        for upstream, counts in self.upstreams.items():
            known = before.upstreams.get(upstream) or UpstreamCounts()
            found.upstreams[upstream] = counts.since(known)
        return found

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return {
            "operation": self.operation,
            "arms": [list(arm) for arm in self.arms],
            **{name: getattr(self, name) for name in _NUMBERS},
            **{name: dict(getattr(self, name)) for name in _BY_NAME},
            "latency": self.latency.as_data(),
            "age": self.age.as_data(),
            "shadows": {layer: result.as_data() for layer, result in self.shadows.items()},
            "upstreams": {name: one.as_data() for name, one in self.upstreams.items()},
        }

    @classmethod
    def of_data(cls, data: Mapping[str, object]) -> Counts:
        """Return the counts that *data* describes; numbers that it lacks are 0.

        Raises:
            ValueError: It is not such data.
        """
        try:
            made = cls(
                str(data["operation"]),
                tuple((str(flag), str(arm)) for flag, arm in _pairs(data["arms"])),
                latency=Histogram.of_data(list_of(data["latency"])),
                age=Histogram.of_data(list_of(data["age"])),
            )
            for name in _NUMBERS:
                value = data.get(name, 0)
                if not isinstance(value, int | float):
                    raise TypeError
                setattr(made, name, value)
            for name in _BY_NAME:
                setattr(made, name, numbers_of(data.get(name, {})))
            for layer, result in mapping_of(data.get("shadows", {})).items():
                made.shadows[layer] = ShadowResult.of_data(result)
            for upstream, counts in mapping_of(data.get("upstreams", {})).items():
                made.upstreams[upstream] = UpstreamCounts.of_data(counts)
        except (KeyError, TypeError, ValueError) as error:
            msg = "these are not counts"
            raise ValueError(msg) from error
        return made


BLAMELESS = frozenset({"CancelledError", "NotFound"})
"""Errors that no layer or upstream is to blame for: the caller left, or there is nothing."""

_NUMBERS = (
    "at_hand",
    "loads",
    "refreshes",
    "requests",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
    "usd",
    "unpriced",
    "audits",
)


_BY_NAME = ("hits", "errors", "requests_to", "asked", "saved_usd")


def total(counts: Iterable[Counts], *, by_arm: bool = True) -> list[Counts]:
    """Return the sums of *counts* by operation, and by arms unless *by_arm* is false."""
    sums: dict[tuple[str, Arms], Counts] = {}
    for one in counts:
        arms = one.arms if by_arm else ()
        key = (one.operation, arms)
        if key not in sums:
            sums[key] = Counts(one.operation, arms)
        sums[key].add(one)
    return [sums[key] for key in sorted(sums)]


@frozen
class InstanceCounts:
    """What one instance has counted since it started.

    Attributes:
        instance: Its name, unique in the fleet.
        machine: The name of its machine.
        build: The version of argo-mw that it runs.
        started: Seconds since the epoch at which it began to count.
        at: The same of these counts.
        counts: One for each operation and combination of arms.
        acts: How often each layer did something that is not an answer, such as to join a call to
            another, to hedge or to veto: by layer and act.
        troubles: How many problems were reported, by where.
        rebuilt: How often the chains were built.
    """

    instance: str
    machine: str
    build: str
    started: float
    at: float
    counts: Sequence[Counts]
    acts: Mapping[str, Mapping[str, int]] = field(factory=dict)
    troubles: Mapping[str, int] = field(factory=dict)
    rebuilt: int = 0

    def since(self, before: InstanceCounts) -> InstanceCounts:
        """Return what was counted after *before*, an earlier state of this instance's counts."""
        known = {(one.operation, one.arms): one for one in before.counts}
        counts = tuple(
            one.since(known.get((one.operation, one.arms)) or Counts(one.operation))
            for one in self.counts
        )
        acts = {layer: grown(acts, before.acts.get(layer, {})) for layer, acts in self.acts.items()}
        return evolve(
            self,
            started=before.at,
            counts=counts,
            acts=acts,
            troubles=grown(self.troubles, before.troubles),
            rebuilt=self.rebuilt - before.rebuilt,
        )

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return {
            "instance": self.instance,
            "machine": self.machine,
            "build": self.build,
            "started": self.started,
            "at": self.at,
            "counts": [one.as_data() for one in self.counts],
            "acts": {layer: dict(acts) for layer, acts in self.acts.items()},
            "troubles": dict(self.troubles),
            "rebuilt": self.rebuilt,
        }

    @classmethod
    def of_data(cls, data: object) -> InstanceCounts:
        """Return the counts of the instance that *data* describes.

        Raises:
            ValueError: It is not such data.
        """
        try:
            fields = mapping_of(data)
            acts = mapping_of(fields.get("acts", {}))
            return cls(
                str(fields["instance"]),
                str(fields["machine"]),
                str(fields["build"]),
                float(fields["started"]),
                float(fields["at"]),
                tuple(Counts.of_data(one) for one in fields["counts"]),
                {layer: _whole(done) for layer, done in acts.items()},
                _whole(fields.get("troubles", {})),
                int(fields.get("rebuilt", 0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = "these are not counts of an instance"
            raise ValueError(msg) from error


def _pairs(data: object) -> Iterable[tuple[object, object]]:
    for one in list_of(data):
        flag, arm = list_of(one)
        yield flag, arm


def _whole(data: object) -> dict[str, int]:
    return {name: int(count) for name, count in numbers_of(data).items()}
