"""Lineage: what an answer inherits from the nested calls that it was made from."""

from __future__ import annotations

from attrs import define, field

from argo_mw.model.outcome import NO_COST, Outcome


@define
class Lineage:
    """The outcomes of the calls that one call has made.

    Attributes:
        outcomes: The outcomes, in the order in which they arrived.
    """

    outcomes: list[Outcome] = field(factory=list)

    def inherit(self, outcome: Outcome) -> Outcome:
        """Return *outcome* with the oldest ``as_of``, earliest expiry, all tags and costs."""
        if not self.outcomes:
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
        )
