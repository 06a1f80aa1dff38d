"""The judge: adds up blocks of counts, and says whether to go on, to wait, or to go back.

It has no clock, asks nothing and forgets nothing: the same blocks in the same order give the same
verdict in any process. Its state is plain data, so that another judge can go on from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argo_mw_rollout.statistics.blocks import Arm, Block
from argo_mw_rollout.statistics.rare import Checked
from argo_mw_rollout.statistics.rules import Rules
from argo_mw_rollout.statistics.step import Step, checked
from argo_mw_rollout.statistics.subjects import Baseline, Subjects
from argo_mw_rollout.statistics.verdict import Verdict
from argo_mw_rollout.statistics.weigh import Before, added, weigh

VERSION = 3
"""The version of the state that :meth:`Judge.as_data` returns."""


class Judge:
    """Judges one ramp of one flag.

    Args:
        rules: What it is judged by.

    Attributes:
        rules: The same.
        step: What was seen in the current step, or ``None`` before the first.
        faults: What was wrong with blocks that could not be used in this step, each once.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.step: Step | None = None
        self.faults: list[str] = []
        self._before = Subjects()
        self._baseline: Baseline | None = None
        self._checked_before = Checked()
        self._checked_earlier = Checked()
        self._wrong_earlier: dict[str, int] = {}

    def learn(self, subjects: Arm) -> None:
        """Take in what was counted of *subjects* before the ramp, while the flag was off.

        Raises:
            ValueError: The first step has begun: what is usual for a subject is settled then.
        """
        if self.step is not None:
            msg = "what was before the ramp cannot change once it has begun"
            raise ValueError(msg)
        if fault := subjects.fault():
            self._note(fault)
            return
        self._before.add(subjects.subjects, subjects.sums)
        self._checked_before = self._checked_before.plus(checked(subjects))

    def begin(self, percent: float, to: float, at: float) -> None:
        """Begin a step: from *at* on, in seconds since the epoch, the flag's share is *percent*.

        Args:
            percent: The share, above 0 and below 100.
            to: The share of the step after it; 100 when the flag will be on.
            at: The time.

        Raises:
            ValueError: There is no control at such a share.
        """
        if not 0.0 < percent < 100.0:
            msg = f"at {percent:g} % there are no two arms to compare"
            raise ValueError(msg)
        if self._baseline is None:
            self._baseline = Baseline(self._before)
        if self.step is not None:
            self._checked_earlier = self._checked_earlier.plus(self.step.checked[0])
            self._wrong_earlier = added(self._wrong_earlier, self.step.wrong_of)
        self.step = Step(percent, to, at)
        self.faults = []

    def observe(self, block: Block) -> None:
        """Take in *block*, unless it was taken in before, or began before the step."""
        step = self.step
        if step is None or self._baseline is None or block.start < step.end:
            return
        if fault := block.fault():
            self._note(fault)
            return
        step.add(block, self._baseline, self.rules.warm_up)

    @property
    def learnt(self) -> bool:
        """Whether anything is known of the time before the ramp."""
        return bool(self._before.names)

    def verdict(self) -> Verdict:
        """Return what to do now, and why."""
        if self.step is None or self._baseline is None:
            return Verdict("hold", "the ramp has not begun")
        before = Before(
            self._checked_before, self._checked_earlier, self._wrong_earlier, self.learnt
        )
        return weigh(self.rules, self.step, self._baseline, before, self.faults)

    def _note(self, fault: str) -> None:
        if fault not in self.faults and len(self.faults) < 100:
            self.faults.append(fault)

    def as_data(self) -> dict[str, Any]:
        """Return the state as plain data, that JSON can hold."""
        return {
            "version": VERSION,
            "before": self._before.as_data(),
            "before_rest": self._before.rest.tolist(),
            "checked_before": [self._checked_before.right, self._checked_before.wrong],
            "checked_earlier": [self._checked_earlier.right, self._checked_earlier.wrong],
            "wrong_earlier": dict(self._wrong_earlier),
            "faults": list(self.faults),
            "step": None if self.step is None else self.step.as_data(),
        }

    @classmethod
    def of_data(cls, data: Mapping[str, Any], rules: Rules | None = None) -> Judge:
        """Return a judge that goes on from the state of another.

        Args:
            data: The state, as :meth:`as_data` returned it.
            rules: What the ramp is judged by: the rules of the other.

        Raises:
            ValueError: It is not such a state, or one of another version.
        """
        try:
            if data["version"] != VERSION:
                msg = f"this is the state of a judge of version {data['version']}, not {VERSION}"
                raise ValueError(msg)
            made = cls(rules)
            made._before = Subjects.of_data(data["before"], data["before_rest"])
            made._checked_before = Checked(*data["checked_before"])
            made._checked_earlier = Checked(*data["checked_earlier"])
            made._wrong_earlier = dict(data["wrong_earlier"])
            made.faults = list(data["faults"])
            if data["step"] is not None:
                made._baseline = Baseline(made._before)
                made.step = Step.of_data(data["step"])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            msg = "this is not a state of a judge"
            raise ValueError(msg) from error
        return made
