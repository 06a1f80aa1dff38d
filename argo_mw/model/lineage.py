"""Lineage: what an answer inherits from the nested calls that it was made from."""

from __future__ import annotations

from attrs import define, field

from argo_mw.model.outcome import NO_COST, Outcome


@define
class Lineage:
    """The outcomes of the calls that one call has made.

    Attributes:
        outcomes: The outcomes, in the order in which they arrived.
        failed: The names of the operations that gave no answer when they were asked.
    """

    outcomes: list[Outcome] = field(factory=list)
    failed: set[str] = field(factory=set)

    def inherit(self, outcome: Outcome) -> Outcome:
        """Return *outcome* with what it owes to nested calls.

        That is the oldest ``as_of``, the earliest expiry, all tags, their versions, costs, and what
        is lacking. An answer that came in spite of a nested call that failed lacks that.
        """
        if not self.outcomes and not self.failed:
            return outcome
        family = [outcome, *self.outcomes]
        ages = [o.as_of for o in family if o.as_of is not None]
        expiries = [o.expires_at for o in family if o.expires_at is not None]
        return outcome.evolve(
            as_of=min(ages, default=None),
            expires_at=min(expiries, default=None),
            tags=frozenset().union(*(o.tags for o in family)),
            cost=sum((o.cost for o in family), NO_COST),
            versions=tuple(dict.fromkeys(v for o in family for v in o.versions)),
            lacks=self._lacking(family),
        )

    def _lacking(self, family: list[Outcome]) -> frozenset[str]:
        return frozenset(self.failed).union(*(o.lacks for o in family))
