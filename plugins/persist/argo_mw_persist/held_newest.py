"""The newest rows in memory, as a table had them at one moment, and what followed from there.

What is held never changes: a read makes of it what is held at a later moment, of the rows that
came in between. So reads in several threads need no lock. Whichever stores its own last, the next
read goes on from there.
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
        order: Which of two rows is the newer.
        make: Makes of rows what readers get.
        moment: When the table was like this.
        found: By tenant and subject how new a row is and what is made of it, or ``None`` where
            there is no row.

    Attributes:
        moment: When the table was like this.
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
        """Return what is held at a later *moment*.

        Args:
            moment: When.
            rows: The rows that came until then, in the order in which they were written.
            changed: Subjects and tenants of which a row was changed or deleted: these are
                held no longer.
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
        """Return what is held with *rows*, all that can be newest of *subjects* of *tenants*."""
        found = {tenant: dict(held) for tenant, held in self._found.items()}
        for tenant in tenants:
            found.setdefault(tenant, {}).update(dict.fromkeys(subjects))
        self._take(found, rows)
        return HeldNewest(self._order, self._make, self.moment, found)

    def missing(self, subjects: Collection[str], tenants: Iterable[str]) -> Collection[str]:
        """Return those of *subjects* that are not held of each of *tenants*."""
        missing: dict[str, None] = {}
        for tenant in tenants:
            held = self._found.get(tenant, {})
            missing |= dict.fromkeys(one for one in subjects if one not in held)
        return missing

    def newest(self, subjects: Iterable[str], tenant: str) -> dict[str, object]:
        """Return the newest that *tenant* may see of each of *subjects*, all of which are held."""
        shared = self._found[""]
        if not tenant:
            return {one: held[1] for one in subjects if (held := shared[one]) is not None}
        own = self._found[tenant]
        pairs = ((one, _newer(shared[one], own[one])) for one in subjects)
        return {one: held[1] for one, held in pairs if held is not None}

    def _take(self, found: Mapping[str, _BySubject], rows: Sequence[Cells]) -> None:
        """Put what is newest of *rows* into *found*, where that has a place for it."""
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
    """Return the newer of two; of equals, what all tenants share."""
    if shared is None or own is None:
        return shared or own
    return own if own[0] > shared[0] else shared
