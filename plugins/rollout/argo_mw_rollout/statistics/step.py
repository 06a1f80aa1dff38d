"""What was seen in one step of a ramp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from argo_mw_rollout.statistics.blocks import Arm, Block
from argo_mw_rollout.statistics.differences import Differences
from argo_mw_rollout.statistics.metrics import FIELDS
from argo_mw_rollout.statistics.rare import Checked
from argo_mw_rollout.statistics.subjects import Baseline, Subjects

_AUDITS: Final = FIELDS.index("audits")
_WRONG: Final = FIELDS.index("wrong")
_CALLS: Final = FIELDS.index("calls")
_MAX_SOURCES: Final = 1_000
_MAX_BOTH: Final = 1_000
_MAX_WRONG: Final = 1_000


class Step:
    """Adds up the blocks of one step.

    Attributes:
        percent: The flag's share.
        to: The share of the step after it; 100 when the flag will be on.
        start: When it began, in seconds since the epoch.
        seconds: How much time was judged, after the warm-up.
        treatment: The subjects in treatment.
        control: The subjects in control.
        differences: The differences between the arms.
        checked: The checked answers of treatment and control.
        wrong_of: In how many blocks each subject of treatment was wrong.
        both: Subjects that were seen in both arms.
        sources: How many subjects of each arm an instance was the first to see.
        newest: Seconds since the epoch at which the newest subject was seen first.
        heard: Where the newest block ended in which treatment, and control, had a call.
        heard_blocks: In how many blocks they had any.
        end: Where the newest block ended, in seconds since the epoch.
    """

    def __init__(self, percent: float, to: float, start: float) -> None:
        self.percent = percent
        self.to = to
        self.start = start
        self.end = start
        self.seconds = 0.0
        self.newest = start
        self.heard = (start, start)
        self.heard_blocks = (0, 0)
        self.treatment = Subjects()
        self.control = Subjects()
        self.differences = Differences()
        self.checked = (Checked(), Checked())
        self.wrong_of: dict[str, int] = {}
        self.both: list[str] = []
        self.sources: dict[str, tuple[int, int]] = {}

    def add(self, block: Block, baseline: Baseline, warm_up: float) -> None:
        """Add *block*; while the layer warms up, only wrong answers count."""
        arms = (block.treatment, block.control)
        one, two = (one.plus(checked(arm)) for one, arm in zip(self.checked, arms, strict=True))
        self.checked = (one, two)
        for at in np.flatnonzero(block.treatment.sums[:, _WRONG]):
            name = block.treatment.subjects[int(at)]
            if name in self.wrong_of or len(self.wrong_of) < _MAX_WRONG:
                self.wrong_of[name] = self.wrong_of.get(name, 0) + 1
        self.end = block.start + block.seconds
        calls = [bool(arm.sums[:, _CALLS].any()) for arm in arms]
        ends = [self.end if any_ else at for any_, at in zip(calls, self.heard, strict=True)]
        self.heard = (ends[0], ends[1])
        self.heard_blocks = (self.heard_blocks[0] + calls[0], self.heard_blocks[1] + calls[1])
        if block.start < self.start + warm_up:
            return
        self.seconds += block.seconds
        # Of both arms or of none, so that their sizes stay comparable.
        more = not (self.treatment.full or self.control.full)
        new = (
            self.treatment.add(block.treatment.subjects, block.treatment.sums, new_ones=more),
            self.control.add(block.control.subjects, block.control.sums, new_ones=more),
        )
        if new[0] or new[1]:
            self._note_new(block, new)
        self.differences.add(block, baseline)

    @property
    def subjects(self) -> tuple[int, int]:
        """How many subjects were seen in each arm."""
        return len(self.treatment.names), len(self.control.names)

    @property
    def calls(self) -> tuple[float, float]:
        """How many calls were judged in each arm."""
        one, two = (
            float(arm.sums[:, _CALLS].sum() + arm.rest[_CALLS])
            for arm in (self.treatment, self.control)
        )
        return one, two

    def _note_new(self, block: Block, new: tuple[list[str], list[str]]) -> None:
        self.newest = block.start
        again = [name for name in new[0] if name in self.control]
        again += [name for name in new[1] if name in self.treatment and name not in again]
        self.both += again[: _MAX_BOTH - len(self.both)]
        for source, seen in block.sources.items():
            counts = [len(set(found) & set(arm)) for found, arm in zip(seen, new, strict=True)]
            if any(counts) and (source in self.sources or len(self.sources) < _MAX_SOURCES):
                one, two = self.sources.get(source, (0, 0))
                self.sources[source] = (one + counts[0], two + counts[1])

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "percent": self.percent,
            "to": self.to,
            "start": self.start,
            "end": self.end,
            "seconds": self.seconds,
            "newest": self.newest,
            "heard": list(self.heard),
            "heard_blocks": list(self.heard_blocks),
            "treatment": self.treatment.as_data(),
            "control": self.control.as_data(),
            "rest": [self.treatment.rest.tolist(), self.control.rest.tolist()],
            "differences": self.differences.as_data(),
            "checked": [[one.right, one.wrong] for one in self.checked],
            "wrong_of": self.wrong_of,
            "both": self.both,
            "sources": {name: list(sizes) for name, sizes in self.sources.items()},
        }

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Step:
        """Return the step that *data* describes."""
        made = cls(data["percent"], data["to"], data["start"])
        made.end = data["end"]
        made.seconds = data["seconds"]
        made.newest = data["newest"]
        one, two = data["heard"]
        made.heard = (one, two)
        one, two = data["heard_blocks"]
        made.heard_blocks = (one, two)
        made.treatment = Subjects.of_data(data["treatment"], data["rest"][0])
        made.control = Subjects.of_data(data["control"], data["rest"][1])
        made.differences = Differences.of_data(data["differences"])
        one, two = (Checked(*both) for both in data["checked"])
        made.checked = (one, two)
        made.wrong_of = dict(data["wrong_of"])
        made.both = list(data["both"])
        made.sources = {name: (sizes[0], sizes[1]) for name, sizes in data["sources"].items()}
        return made


def checked(arm: Arm) -> Checked:
    """Return what was checked in one block: what is wrong with a subject there counts once."""
    audits, wrong = arm.sums[:, _AUDITS], arm.sums[:, _WRONG]
    return Checked(float((audits - wrong).sum()), float(np.minimum(wrong, 1.0).sum()))
