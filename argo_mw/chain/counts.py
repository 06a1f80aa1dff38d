"""Counts: what was counted of one operation in one combination of arms, as mergeable values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from attrs import define, evolve, field, frozen
from msgspec import MsgspecError, Struct, msgpack

from argo_mw.base.histogram import Histogram
from argo_mw.chain.shadow_result import ShadowResult
from argo_mw.chain.upstream_counts import UpstreamCounts

Arms = tuple[tuple[str, str], ...]

N = TypeVar("N", int, float)


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
        age: How old answers were when they were served, in seconds: of one in sixteen, which
            counts for the others too.
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
            setattr(found, name, _added(getattr(self, name), getattr(before, name)))
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
            ValueError: It is no such data.
        """
        try:
            made = cls(
                str(data["operation"]),
                tuple((str(flag), str(arm)) for flag, arm in _pairs(data["arms"])),
                latency=Histogram.of_data(_list(data["latency"])),
                age=Histogram.of_data(_list(data["age"])),
            )
            for name in _NUMBERS:
                value = data.get(name, 0)
                if not isinstance(value, int | float):
                    raise TypeError
                setattr(made, name, value)
            for name in _BY_NAME:
                setattr(made, name, _by_name(data.get(name, {})))
            for layer, result in _mapping(data.get("shadows", {})).items():
                made.shadows[layer] = ShadowResult.of_data(result)
            for upstream, counts in _mapping(data.get("upstreams", {})).items():
                made.upstreams[upstream] = UpstreamCounts.of_data(counts)
        except (KeyError, TypeError, ValueError) as error:
            msg = "these are no counts"
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
        acts: How often each layer did something that is no answer, such as to join a call to
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
        acts = {
            layer: _added(acts, before.acts.get(layer, {})) for layer, acts in self.acts.items()
        }
        return evolve(
            self,
            started=before.at,
            counts=counts,
            acts=acts,
            troubles=_added(self.troubles, before.troubles),
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
            ValueError: It is no such data.
        """
        try:
            if not isinstance(data, Mapping):
                raise TypeError
            return cls(
                str(data["instance"]),
                str(data["machine"]),
                str(data["build"]),
                float(data["started"]),
                float(data["at"]),
                tuple(Counts.of_data(one) for one in data["counts"]),
                {layer: _whole(acts) for layer, acts in _mapping(data.get("acts", {})).items()},
                _whole(data.get("troubles", {})),
                int(data.get("rebuilt", 0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = "these are no counts of an instance"
            raise ValueError(msg) from error


class SubjectCounts(Struct, array_like=True):
    """What was counted of one subject in one block of time.

    Attributes:
        calls: Calls that ended; one whose caller left counts only if it was slow by then.
        hits: Those of them that were answered from memory at once.
        errors: Those that ended in an error, without ``NotFound``.
        slow: Those that took longer than the first threshold of the watch.
        slowest: Those that took longer than its second threshold.
        seconds: Seconds that their callers waited, added up.
        requests: Requests to upstreams.
        usd: US dollars, of the requests whose price is known.
        audits: Answers that were checked by asking afresh.
        wrong: Those of them that were wrong.
        distance: How far numbers in checked answers were from fresh ones, relative, added up.
    """

    calls: int = 0
    hits: int = 0
    errors: int = 0
    slow: int = 0
    slowest: int = 0
    seconds: float = 0.0
    requests: float = 0.0
    usd: float = 0.0
    audits: int = 0
    wrong: int = 0
    distance: float = 0.0

    def add(self, other: SubjectCounts) -> None:
        """Count what *other* has counted, too."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Rows = Mapping[str, Mapping[str, SubjectCounts]]
"""What was counted in a block, by arm (``treatment``, ``control`` or "") and subject."""


@frozen
class Block:
    """What one instance has counted of the subjects of a flag in one block of time.

    Attributes:
        instance: The instance.
        number: Which block: it began *number* times *seconds* after the epoch.
        seconds: How long it is, in seconds.
        rows: What was counted.
        dropped: Calls of further subjects, of which there were too many to keep apart.
    """

    instance: str
    number: int
    seconds: float
    rows: Rows
    dropped: int = 0

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return {
            "instance": self.instance,
            "number": self.number,
            "seconds": self.seconds,
            "rows": msgpack.encode(self.rows),
            "dropped": self.dropped,
        }

    @classmethod
    def of_data(cls, data: object) -> Block:
        """Return the block that *data* describes.

        Raises:
            ValueError: It is no such data.
        """
        try:
            if not isinstance(data, Mapping):
                raise TypeError
            return cls(
                str(data["instance"]),
                int(data["number"]),
                float(data["seconds"]),
                msgpack.decode(data["rows"], type=dict[str, dict[str, SubjectCounts]]),
                int(data["dropped"]),
            )
        except (KeyError, TypeError, ValueError, MsgspecError) as error:
            msg = "this is no block of counts"
            raise ValueError(msg) from error


def _pairs(data: object) -> Iterable[tuple[object, object]]:
    for one in _list(data):
        flag, arm = _list(one)
        yield flag, arm


def _list(data: object) -> Sequence[object]:
    if not isinstance(data, list | tuple):
        raise TypeError
    return data


def _added(now: Mapping[str, N], before: Mapping[str, N]) -> dict[str, N]:
    grown = {name: count - before.get(name, 0) for name, count in now.items()}
    return {name: count for name, count in grown.items() if count > 0}


def _whole(data: object) -> dict[str, int]:
    return {name: int(count) for name, count in _by_name(data).items()}


def _mapping(data: object) -> dict[str, object]:
    if not isinstance(data, Mapping):
        raise TypeError
    return {str(key): value for key, value in data.items()}


def _by_name(data: object) -> dict[str, float]:
    found = _mapping(data)
    if not all(isinstance(value, int | float) for value in found.values()):
        raise TypeError
    return found  # type: ignore[return-value]
