"""The flags whose subjects are counted one by one, in blocks of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf
from typing import Final, get_args

from attrs import field, frozen, validators

from argo_mw.counters.accumulators import ArmSubjects, Watched
from argo_mw.counters.plain_data import mapping_of
from argo_mw.counters.subject_counts import Block, SubjectCounts
from argo_mw.counters.tally import Tally
from argo_mw.flags.model import Unit

KEPT_BLOCKS: Final = 60
"""Blocks of a flag that an instance keeps, while the store is away for one."""


@frozen
class Watch:
    """A flag whose subjects are counted one by one, in blocks of time.

    Attributes:
        flag: Its name.
        until: Seconds since the epoch until which it is watched, unless that is renewed.
        by: The unit that its share is taken of, which stands for the subject: ``subject``,
            ``tenant`` or ``key``.
        seconds: How long a block is, in seconds.
        slow: By operation, the seconds above which a call counts as slow, and as slowest.
    """

    flag: str
    until: float
    by: Unit = "subject"
    seconds: float = field(default=30.0, validator=validators.gt(0))
    slow: Mapping[str, tuple[float, float]] = field(factory=dict)

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        slow = {operation: list(seconds) for operation, seconds in self.slow.items()}
        return {"until": self.until, "by": self.by, "seconds": self.seconds, "slow": slow}

    @classmethod
    def of_data(cls, flag: str, data: object) -> Watch:
        """Return the watch of *flag* that *data* describes.

        Raises:
            ValueError: It is not such data.
        """
        try:
            fields = mapping_of(data)
            if fields["by"] not in get_args(Unit):
                raise TypeError
            slow = {
                name: (float(a), float(b)) for name, (a, b) in mapping_of(fields["slow"]).items()
            }
            until, seconds = float(fields["until"]), float(fields["seconds"])
            return cls(flag, until, fields["by"], seconds, slow)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"this is not a watch of flag {flag!r}"
            raise ValueError(msg) from error


class Watching:
    """A watch, and what was counted in its current block.

    Attributes:
        watch: The watch.
        number: Which block it is.
        arms: What was counted in it, by arm.
        closed: The newest blocks before it.
    """

    def __init__(self, watch: Watch, now: float) -> None:
        self.watch = watch
        self.number = int(now // watch.seconds)
        self.arms: dict[str, ArmSubjects] = {}
        self.closed: deque[Block] = deque(maxlen=KEPT_BLOCKS)

    @property
    def ends(self) -> float:
        """When the current block ends, in seconds since the epoch."""
        return (self.number + 1) * self.watch.seconds

    def seen_by(self, tally: Tally) -> Watched:
        """Return what *tally* counts subjects with."""
        watch = self.watch
        arm = dict(tally.arms).get(watch.flag, "")
        subjects = self.arms.setdefault(arm, ArmSubjects())
        return Watched(watch.flag, watch.by, subjects, *watch.slow.get(tally.operation, (inf, inf)))

    def close(self, instance: str, now: float) -> Block | None:
        """End the current block if *now* is past it; return it if anything was counted."""
        number = int(now // self.watch.seconds)
        if self.number - KEPT_BLOCKS < number <= self.number:
            return None  # even if the clock was set back a little: no block is written twice
        rows: dict[str, Mapping[str, SubjectCounts]] = {}
        dropped = 0
        for name, arm in self.arms.items():
            if arm.counts:
                rows[name] = arm.counts
            dropped += arm.dropped
            arm.counts, arm.dropped = {}, 0
        block = Block(instance, self.number, self.watch.seconds, rows, dropped)
        self.number = number
        if not rows:
            return None
        self.closed.append(block)
        return block
