"""The newest rows of a table in memory, as of one moment.

A `HeldNewest` never changes: a read makes a new one as of a later moment, from the rows that came
in between. So reads in several threads need no lock: the next read continues from whichever was
stored last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from argo_mw_persist.newest import Age, Cells, Key, Make, NewestOrder

M = TypeVar("M")

_Held = tuple[Age, object]
_BySubject = dict[str, _Held | None]


class HeldNewest(Generic[M]):
    """The newest rows of some subjects, as readers get them.

    Args:
        order: Decides which of two rows is newer.
        make: Turns rows into what readers get.
        moment: As of when.
        found: By tenant and subject, how new the row is and what was made of it; ``None`` if there
            is no row.

    Attributes:
        moment: As of when.
    """

    def __init__(
        self,
        order: NewestOrder,
        make: Make,
        moment: M,
        found: Mapping[str, _BySubject] | None = None,
    ) -> None:
        self.moment = moment
        self._order = order
        self._make = make
        self._found = found or {}

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def at(
        self, moment: M, rows: Sequence[Cells] = (), changed: Iterable[Key] = ()
    ) -> HeldNewest[M]:
        """Return what is held as of a later *moment*.

        Args:
            moment: The later moment.
            rows: The rows that came until then, in the order in which they were written.
            changed: Subjects and tenants of which a row was changed or deleted; they are dropped.
        """
        found = self._found
        changed = list(changed)
        if rows or changed:
            found = {tenant: dict(held) for tenant, held in found.items()}
            for subject, tenant in changed:
                found.get(tenant, {}).pop(subject, None)
            self._take(found, rows)
        return HeldNewest(self._order, self._make, moment, found)

    def loaded(
        self, rows: Sequence[Cells], subjects: Collection[str], tenants: Iterable[str]
    ) -> HeldNewest[M]:
        """Return what is held with *rows*: all candidates for *subjects* of *tenants*."""
        found = {tenant: dict(held) for tenant, held in self._found.items()}
        for tenant in tenants:
            found.setdefault(tenant, {}).update(dict.fromkeys(subjects))
        self._take(found, rows)
        return HeldNewest(self._order, self._make, self.moment, found)

    def missing(self, subjects: Collection[str], tenants: Iterable[str]) -> Collection[str]:
        """Return those of *subjects* that are not held for all of *tenants*."""
        missing: dict[str, None] = {}
        for tenant in tenants:
            held = self._found.get(tenant, {})
            missing |= dict.fromkeys(one for one in subjects if one not in held)
        return missing

    def newest(self, subjects: Iterable[str], tenant: str) -> dict[str, object]:
        """Return the newest row that *tenant* may see of each of *subjects*, which must be held."""
        shared = self._found[""]
        if not tenant:
            return {one: held[1] for one in subjects if (held := shared[one]) is not None}
        own = self._found[tenant]
        pairs = ((one, _newer(shared[one], own[one])) for one in subjects)
        return {one: held[1] for one, held in pairs if held is not None}

    def _take(self, found: Mapping[str, _BySubject], rows: Sequence[Cells]) -> None:
        """Put the newest of *rows* into *found*, for the subjects and tenants that it has."""
        age = self._order.age
        newer = []
        for (subject, tenant), row in self._order.newest(rows).items():
            held = found.get(tenant, {})
            if subject in held and ((other := held[subject]) is None or age(row) > other[0]):
                newer.append((subject, tenant, row))
        values = self._make([row for _, _, row in newer])
        for (subject, tenant, row), value in zip(newer, values, strict=True):
            found[tenant][subject] = age(row), value


def _newer(shared: _Held | None, own: _Held | None) -> _Held | None:
    """Return the newer of two; of equals, the one that all tenants share."""
    if shared is None or own is None:
        return shared or own
    return own if own[0] > shared[0] else shared
