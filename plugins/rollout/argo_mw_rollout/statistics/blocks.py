"""What is judged: the counts of each subject in one block of time, by arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from attrs import field, frozen

from argo_mw_rollout.statistics.metrics import FIELDS
from argo_mw_rollout.statistics.sequence import Numbers


class SubjectSums(Protocol):
    """What was counted of one subject; counters of the core are such."""

    @property
    def calls(self) -> float: ...
    @property
    def errors(self) -> float: ...
    @property
    def slow(self) -> float: ...
    @property
    def slowest(self) -> float: ...
    @property
    def requests(self) -> float: ...
    @property
    def usd(self) -> float: ...
    @property
    def audits(self) -> float: ...
    @property
    def wrong(self) -> float: ...
    @property
    def distance(self) -> float: ...


@frozen(eq=False)
class Arm:
    """The subjects of one arm, and what was counted of each.

    Attributes:
        subjects: The subjects, each once.
        sums: One row for each subject, with the columns :data:`~.metrics.FIELDS`.
    """

    subjects: Sequence[str] = ()
    sums: Numbers = field(factory=lambda: np.zeros((0, len(FIELDS))))

    @classmethod
    def of(cls, rows: Mapping[str, SubjectSums]) -> Arm:
        """Return the arm of *rows*, which say what was counted of each subject."""
        names = sorted(rows)
        table = [[float(getattr(rows[name], field)) for field in FIELDS] for name in names]
        return cls(names, np.array(table, dtype=np.float64).reshape(len(names), len(FIELDS)))

    def fault(self) -> str:
        """Return what is wrong with the numbers, or "" when nothing is."""
        if (self.sums >= 0.0).all() and np.isfinite(self.sums).all():
            return ""
        for column, name in enumerate(FIELDS):
            values = self.sums[:, column]
            if not np.isfinite(values).all():
                subject = self.subjects[int(np.argmin(np.isfinite(values)))]
                return f"{name} of {subject} is not a number"
            if (values < 0).any():
                subject = self.subjects[int(np.argmax(values < 0))]
                return f"{name} of {subject} is below zero"
        return ""

    @classmethod
    def merged(cls, arms: Iterable[Arm]) -> Arm:
        """Return what *arms*, of one arm on several instances, have counted together."""
        parts = list(arms)
        if len(parts) == 1:
            return parts[0]
        names = sorted({subject for part in parts for subject in part.subjects})
        row = {name: number for number, name in enumerate(names)}
        sums = np.zeros((len(names), len(FIELDS)))
        for part in parts:
            sums[[row[subject] for subject in part.subjects]] += part.sums
        return cls(names, sums)


@frozen(eq=False)
class Block:
    """What was counted in one block of time.

    Attributes:
        start: When it began, in seconds since the epoch.
        seconds: How long it was, in seconds.
        treatment: The subjects for which the flag was on.
        control: The subjects that they are compared with.
        sources: The subjects that each instance has seen, in treatment and in control; optional, it
            lets the judge say where arms of unequal size come from.
    """

    start: float
    seconds: float
    treatment: Arm = field(factory=Arm)
    control: Arm = field(factory=Arm)
    sources: Mapping[str, tuple[Sequence[str], Sequence[str]]] = field(factory=dict)

    @classmethod
    def merged(cls, start: float, seconds: float, parts: Mapping[str, tuple[Arm, Arm]]) -> Block:
        """Return the block of a fleet.

        Args:
            start: When it began, in seconds since the epoch.
            seconds: How long it was, in seconds.
            parts: What each instance has counted in treatment and in control, by instance.
        """
        return cls(
            start,
            seconds,
            Arm.merged(treatment for treatment, _ in parts.values()),
            Arm.merged(control for _, control in parts.values()),
            {name: (one.subjects, two.subjects) for name, (one, two) in parts.items()},
        )

    def fault(self) -> str:
        """Return what is wrong with the numbers, or "" when nothing is."""
        return self.treatment.fault() or self.control.fault()
