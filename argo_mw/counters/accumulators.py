"""What a tally counts in: of each layer, each upstream and each watched flag."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from argo_mw.base.printable import printable
from argo_mw.counters.subject_counts import SubjectCounts
from argo_mw.counters.upstream_counts import ModelCounts, UpstreamCounts
from argo_mw.flags.model import Unit
from argo_mw.model.call import Call

SAMPLED: Final = 64
"""Of so many answers at hand, one is looked at on average, for its age: one in sixteen took a tenth
of a hit."""

SAMPLED_WHILE_WATCHED: Final = 16
"""The same while a flag is watched: what is looked at may be audited."""

SAMPLED_IN_ARMS: Final = 4
"""The same in an arm of a watched flag, where audits tell most."""

MAX_SUBJECTS: Final = 2_000
"""Subjects that are kept apart for one arm of a flag, in one block of time."""

OTHER: Final = "other"
"""What is counted by this name is beyond a bound."""

_LONGEST_SUBJECT: Final = 256
_MAX_MODELS: Final = 64
_LONGEST_MODEL: Final = 128


class Cell:
    """Counts the answers at hand of one layer; the only thing that each of them touches.

    Attributes:
        layer: The layer's name.
        left: How many are passed over before the next of a sample.
        note: Notes the call of each answer, where a flag is watched; else ``None``.
    """

    __slots__ = ("_counted", "_gap", "layer", "left", "note")

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.note: Callable[[Call], None] | None = None
        self._counted = 0
        self.left = self._gap = gap(SAMPLED)

    @property
    def count(self) -> int:
        """How many answers there were."""
        return self._counted + self._gap - self.left

    def begin(self, every: int) -> None:
        """Count down to the next of the sample, one in *every* on average."""
        self._counted += self._gap - self.left
        self.left = self._gap = gap(every)


class Sent:
    """What was sent to one upstream.

    Attributes:
        requests: How many requests.
        asked: How many calls they were to answer.
        counts: How attempts went, and what requests cost.
    """

    __slots__ = ("asked", "counts", "requests")

    def __init__(self) -> None:
        self.requests = 0.0
        self.asked = 0
        self.counts = UpstreamCounts()

    def model(self, name: str, task: str = "") -> ModelCounts:
        """Return the counts of the model *name*, or of all further ones where there are many.

        *task* is what it was asked to do, "" to answer a conversation.
        """
        models = self.counts.models if not task else self.counts.tasks.setdefault(task, {})
        found = models.get(name)
        if found is None:
            name = printable(name)[:_LONGEST_MODEL]
            if name not in models and len(models) >= _MAX_MODELS:
                name = OTHER
            found = models.setdefault(name, ModelCounts())
        return found


class ArmSubjects:
    """The subjects of one arm of a watched flag, in the current block of time.

    Attributes:
        counts: By subject.
        dropped: Calls of further subjects, of which there were too many.
    """

    __slots__ = ("counts", "dropped")

    def __init__(self) -> None:
        self.counts: dict[str, SubjectCounts] = {}
        self.dropped = 0

    def open(self, unit: str) -> SubjectCounts:
        """Return the counts of *unit*, new if need be."""
        found = self.counts.get(unit)
        if found is None:
            found = SubjectCounts()
            if len(self.counts) < MAX_SUBJECTS:
                self.counts[unit] = found
            else:
                self.dropped += 1
        return found


class Watched:
    """A flag whose subjects are counted, as the calls of one tally see it.

    Attributes:
        flag: Its name.
        by: The unit that its share is taken of: an attribute of the call.
        arm: The subjects of the arm that these calls are in.
        slow: Seconds above which a call is slow.
        slowest: Seconds above which it is among the slowest.
    """

    __slots__ = ("arm", "by", "flag", "slow", "slowest")

    def __init__(self, flag: str, by: Unit, arm: ArmSubjects, slow: float, slowest: float) -> None:
        self.flag = flag
        self.by = by
        self.arm = arm
        self.slow = slow
        self.slowest = slowest

    def of(self, call: Call) -> SubjectCounts:
        """Return the counts of the subject of *call*."""
        unit = getattr(call, self.by) or call.key
        return self.arm.counts.get(unit) or self.arm.open(_short(unit, call))


def gap(every: int) -> int:
    """Return how many answers to pass over, at random: periodic calls must not bias the sample.

    Any number from none to twice as many as on average: a distribution without a bound takes four
    times as long to draw from, which was 2 % of a hit.
    """
    return int(random.random() * (2 * every - 1))


def _short(unit: str, call: Call) -> str:
    return unit if len(unit) <= _LONGEST_SUBJECT else call.key
