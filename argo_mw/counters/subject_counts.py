"""What was counted of each subject of a watched flag in one block of time, as values."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from msgspec import MsgspecError, Struct, msgpack

from argo_mw.counters.plain_data import mapping_of


class SubjectCounts(Struct, array_like=True):
    """What was counted of one subject in one block of time.

    Attributes:
        calls: Calls that ended; one whose caller left counts only if it was slow by then.
        hits: Those of them that were answered from memory at once.
        errors: Those that ended in an error, without ``NotFound``.
        slow: Those that took longer than the first threshold of the watch.
        slowest: Those that took longer than its second threshold.
        seconds: Seconds that their callers waited, added up.
        requests: Requests to upstreams.
        usd: US dollars, of the requests whose price is known.
        audits: Answers that were checked by asking afresh.
        wrong: Those of them that were wrong.
        distance: How far numbers in checked answers were from fresh ones, relative, added up.
    """

    calls: int = 0
    hits: int = 0
    errors: int = 0
    slow: int = 0
    slowest: int = 0
    seconds: float = 0.0
    requests: float = 0.0
    usd: float = 0.0
    audits: int = 0
    wrong: int = 0
    distance: float = 0.0

    def add(self, other: SubjectCounts) -> None:
        """Count what *other* has counted, too."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Rows = Mapping[str, Mapping[str, SubjectCounts]]
"""What was counted in a block, by arm (``treatment``, ``control`` or "") and subject."""


@frozen
class Block:
    """What one instance has counted of the subjects of a flag in one block of time.

    Attributes:
        instance: The instance.
        number: Which block: it began *number* times *seconds* after the epoch.
        seconds: How long it is, in seconds.
        rows: What was counted.
        dropped: Calls of further subjects, of which there were too many to keep apart.
    """

    instance: str
    number: int
    seconds: float
    rows: Rows
    dropped: int = 0

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return {
            "instance": self.instance,
            "number": self.number,
            "seconds": self.seconds,
            "rows": msgpack.encode(self.rows),
            "dropped": self.dropped,
        }

    @classmethod
    def of_data(cls, data: object) -> Block:
        """Return the block that *data* describes.

        Raises:
            ValueError: It is not such data.
        """
        try:
            fields = mapping_of(data)
            return cls(
                str(fields["instance"]),
                int(fields["number"]),
                float(fields["seconds"]),
                msgpack.decode(fields["rows"], type=dict[str, dict[str, SubjectCounts]]),
                int(fields["dropped"]),
            )
        except (KeyError, TypeError, ValueError, MsgspecError) as error:
            msg = "this is not a block of counts"
            raise ValueError(msg) from error
