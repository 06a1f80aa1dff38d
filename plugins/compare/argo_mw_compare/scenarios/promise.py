"""Promises: what the plan said, what came of it, and whether the bar is met."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import asdict, frozen


@frozen(kw_only=True)
class Promise:
    """One promise of the plan, measured.

    Attributes:
        name: Its name within its scenario.
        title: What was measured, for people.
        plan: The plan's own number, in its words.
        unit: The unit of ``before`` and ``after``.
        before: What the original service took; ``None`` where nothing was measured.
        after: What it took behind the chain.
        ours: What is held against the bar: ``after`` over ``before``, or ``after`` for a share.
        bar: The most that it may be, or the least where ``at_least``.
        at_least: Whether more is better.
    """

    name: str
    title: str
    plan: str
    unit: str
    before: float | None
    after: float | None
    ours: float | None
    bar: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it was measured and is within the bar."""
        if self.ours is None:
            return False
        return self.ours >= self.bar if self.at_least else self.ours <= self.bar

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        return {**asdict(self), "met": self.met}


@frozen
class Shown:
    """A figure beside the promises: a part of the total, or what the saving costs.

    Attributes:
        phase: The part of the scenario that it is of.
        title: What was measured, for people.
        before: What the original service had, with its unit.
        after: The same behind the chain.
    """

    phase: str
    title: str
    before: str
    after: str


@frozen
class Findings:
    """What a scenario found.

    Attributes:
        scenario: The name of the scenario.
        title: What it shows.
        given: Its parameters, each in a sentence.
        promises: The promises that it was made for.
        shown: What else a reader should see.
        seconds: Real seconds that it took.
        said: What the figures do not say by themselves, each in a sentence.
    """

    scenario: str
    title: str
    given: Sequence[str]
    promises: Sequence[Promise]
    shown: Sequence[Shown] = ()
    seconds: float = 0.0
    said: Sequence[str] = ()

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        promises = [one.as_dict() for one in self.promises]
        return {**asdict(self), "promises": promises}


def at_most(
    name: str,
    title: str,
    *,
    plan: str,
    bar: float,
    before: float | None,
    after: float | None,
    unit: str = "",
) -> Promise:
    """Return a promise whose ratio of *after* to *before* must be *bar* at most."""
    return Promise(
        name=name,
        title=title,
        plan=plan,
        unit=unit,
        before=before,
        after=after,
        ours=ratio(after, before),
        bar=bar,
    )


def ratio(after: float | None, before: float | None) -> float | None:
    """Return *after* over *before*; ``None`` where there is none."""
    return None if after is None or not before else after / before


def by_key(several: Sequence[Findings]) -> dict[str, dict[str, object]]:
    """Return every promise of *several* by ``scenario.promise``."""
    return {
        f"{found.scenario}.{one.name}": one.as_dict() for found in several for one in found.promises
    }
