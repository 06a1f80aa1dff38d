"""Verdicts and the evidence for them, as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

Action = Literal["hold", "roll back", "promote"]
State = Literal["harmed", "safe", "open", "no data"]


@frozen
class Evidence:
    """What is known of one metric.

    Changes are parts of control's level for a relative metric, and differences of shares else.

    Attributes:
        metric: The metric.
        words: Its name for people.
        relative: Whether changes are relative to control.
        treatment: The level in treatment, for one call or audit.
        control: The level in control.
        before: The level that was usual for control's subjects before the ramp. What the arms
            share, as quotas, gathered requests and kept answers, changes control, too.
        change: How much more of it there is in treatment.
        low: The least change that the data leave open, at 95 % for all looks together.
        high: The greatest.
        worst: The greatest change that is left open with the certainty that promoting takes.
        margin: The harm that does not matter.
        limit: The harm that must be ruled out before the next step.
        state: ``harmed`` beyond the margin for certain, ``safe`` below the limit for certain,
            ``open`` as long as neither is certain, or ``no data``.
        why: What the state comes from, where numbers do not show it.
        seconds: About how many seconds until it is safe, if nothing changes; ``None`` when unknown.
    """

    metric: str
    words: str
    relative: bool
    treatment: float
    control: float
    before: float
    change: float
    low: float
    high: float
    worst: float
    margin: float
    limit: float
    state: State
    why: str = ""
    seconds: float | None = None

    @property
    def changed(self) -> bool:
        """Whether there is a change for certain."""
        return self.low > 0.0 or self.high < 0.0


@frozen
class Verdict:
    """What to do with a ramp now, and why.

    Attributes:
        action: ``hold``, ``roll back`` or ``promote``.
        why: The reason, as a sentence for people.
        evidence: What is known of each metric.
        percent: The share at which it was found.
        subjects: How many subjects were seen in treatment and in control.
        calls: How many calls were judged in treatment and in control.
        seconds: About how many seconds until there is more to say, if nothing changes; ``None``
            when unknown, or when waiting will not help.
        loud: Whether something is wrong that a person should look at.
    """

    action: Action
    why: str
    evidence: Sequence[Evidence] = ()
    percent: float = 0.0
    subjects: tuple[int, int] = (0, 0)
    calls: tuple[float, float] = (0.0, 0.0)
    seconds: float | None = None
    loud: bool = False
