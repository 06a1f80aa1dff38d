"""Tables of what was counted of each subject: before a ramp, and in a step of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from argo_mw_rollout.statistics.metrics import FIELDS, METRICS
from argo_mw_rollout.statistics.sequence import Numbers

_OF: Final = [FIELDS.index(name) for name in METRICS]
_PER: Final = [FIELDS.index(metric.per) for metric in METRICS.values()]
_PRIOR: Final = np.array([metric.prior for metric in METRICS.values()])
_LEAST: Final = np.array([metric.least for metric in METRICS.values()])
RELATIVE: Final = np.array([metric.relative for metric in METRICS.values()])


def of(sums: Numbers) -> Numbers:
    """Return what was counted, by row and metric."""
    return sums[:, _OF]


def per(sums: Numbers) -> Numbers:
    """Return what the metrics are shares of: calls or audits, by row and metric."""
    return sums[:, _PER]


MOST_SUBJECTS: Final = 5_000
"""Subjects of one table that are kept apart: where keys are subjects, there is no end of them."""


class Subjects:
    """Adds up what was counted of each subject; of the first :data:`MOST_SUBJECTS` only.

    Attributes:
        names: The subjects, in the order in which they were seen first.
        rest: What was counted of all further ones together.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rest: Numbers = np.zeros(len(FIELDS))
        self._row: dict[str, int] = {}
        self._sums = np.zeros((16, len(FIELDS)))

    @property
    def sums(self) -> Numbers:
        """What was counted: one row for each subject, with the columns ``FIELDS``."""
        return self._sums[: len(self.names)]

    @property
    def full(self) -> bool:
        """Whether further subjects are not kept apart."""
        return len(self.names) >= MOST_SUBJECTS

    def add(self, names: Sequence[str], sums: Numbers, *, new_ones: bool = True) -> list[str]:
        """Add *sums*, one row for each of *names*; return which of them are new.

        Args:
            names: The subjects.
            sums: What was counted of them.
            new_ones: Whether subjects are kept apart that are not yet.
        """
        known = self._row
        room = MOST_SUBJECTS - len(self.names) if new_ones else 0
        new = [name for name in names if name not in known]
        if len(new) > room:
            left_out = set(new[room:])
            kept = np.array([name not in left_out for name in names])
            self.rest = self.rest + sums[~kept].sum(axis=0)
            names, sums, new = [n for n in names if n not in left_out], sums[kept], new[:room]
        for name in new:
            known[name] = len(self.names)
            self.names.append(name)
        while len(self.names) > len(self._sums):
            self._sums = np.vstack([self._sums, np.zeros_like(self._sums)])
        self._sums[[known[name] for name in names]] += sums
        return new

    def __contains__(self, name: object) -> bool:
        return name in self._row

    def rows(self, names: Sequence[str]) -> Numbers:
        """Return the sums of *names*, zero for those that are not known."""
        found = np.zeros((len(names), len(FIELDS)))
        at = [(place, self._row[name]) for place, name in enumerate(names) if name in self._row]
        if at:
            places, rows = zip(*at, strict=True)
            found[list(places)] = self._sums[list(rows)]
        return found

    def as_data(self) -> dict[str, list[float]]:
        """Return what was counted of each subject as plain data, without the rest."""
        return {name: row.tolist() for name, row in zip(self.names, self.sums, strict=True)}

    @classmethod
    def of_data(cls, data: Mapping[str, Sequence[float]], rest: Sequence[float]) -> Subjects:
        """Return the table that *data* describes, with the *rest* beside it."""
        made = cls()
        made.rest = np.array(rest, dtype=np.float64).reshape(len(FIELDS))
        if data:
            made.add(list(data), np.array(list(data.values()), dtype=np.float64))
        return made


class Baseline:
    """What each subject was like before the ramp: its mean of each metric for one call or audit.

    A subject of which little is known is taken to be more like all of them together.

    Attributes:
        mean: The mean of all subjects, by metric.
        nothing: Of which metrics there was nothing worth a comparison.
    """

    def __init__(self, before: Subjects) -> None:
        self._before = before
        totals = (before.sums.sum(axis=0) + before.rest)[np.newaxis]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.nan_to_num(of(totals) / per(totals))[0]
        self.nothing = RELATIVE & (mean < _LEAST)
        self.mean: Numbers = np.where(RELATIVE, np.maximum(mean, _LEAST), mean)
        self._known: dict[str, Numbers] = {}

    def of(self, names: Sequence[str]) -> Numbers:
        """Return the means by subject and metric; those of relative ones are never zero."""
        known, asked = self._known, list(names)
        new = [name for name in asked if name not in known]
        if new:
            known.update(zip(new, self._means(self._before.rows(new)), strict=True))
        if not asked:
            return np.zeros((0, len(METRICS)))
        return np.array([known[name] for name in asked])

    def _means(self, sums: Numbers) -> Numbers:
        means = (of(sums) + _PRIOR * self.mean) / (per(sums) + _PRIOR)
        return np.asarray(np.where(RELATIVE, np.maximum(means, _LEAST), means))
