"""The interface of a wire: a protocol of requests for answers, as it goes over the network."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from argo_mw_llm.answers import Usage
from argo_mw_llm.bounds import Bound, Limiting
from argo_mw_llm.counts import Counts
from argo_mw_llm.streams import Ending

JSON = Mapping[str, object]


class Read(NamedTuple):
    """What a whole answer says of itself.

    Attributes:
        usage: The tokens it took, or ``None`` where it has no count that can be.
        model: The model.
        stop: Why it ended; see :class:`~argo_mw_llm.answers.Completion`.
    """

    usage: Usage | None
    model: str
    stop: str


class Wire(ABC):
    """A protocol of requests for answers.

    Attributes:
        name: What the configuration calls it.
        path: How the paths of its requests end.
        task: What it asks of a model, in OpenTelemetry's words; "" is to answer a conversation.
        counts: How the fields of its usage are booked.
        marks: What stands in the lines of a stream that are worth decoding.
        last: What the beginning of a stream's last event holds.
        last_event: The beginning of a stream's last event.
    """

    name: ClassVar[str]
    path: ClassVar[str]
    task: ClassVar[str] = ""
    counts: ClassVar[Counts]
    marks: ClassVar[tuple[bytes, ...]]
    last: ClassVar[bytes]
    last_event: ClassVar[re.Pattern[bytes]]

    @abstractmethod
    def read(self, body: JSON, content: bytes) -> Read:
        """Return what the whole answer *body* says of itself; *content* is its bytes."""

    @abstractmethod
    def read_event(self, event: JSON, ending: Ending) -> None:
        """Take up what *event* of a stream says of its answer."""

    def finish(self, ending: Ending, raw: bytes) -> None:  # noqa: B027 - most have nothing to add
        """Take up what all bytes of a stream say of its answer, once that has ended."""

    @abstractmethod
    def limit(self, limiting: Limiting) -> str:
        """Return the field that limits the length of an answer."""

    @abstractmethod
    def bound(self, body: JSON, limiting: Limiting) -> Bound:
        """Return the most that the request *body* may take.

        Args:
            body: The request.
            limiting: How the provider limits answers.

        Raises:
            NoBoundError: It has none.
        """

    def asking_for_usage(self, body: JSON) -> JSON:
        """Return the fields with which a stream for the request *body* would report its usage.

        None where it does so by itself, or no stream is asked for.
        """
        return {}

    def reports_usage_alone(self, event: JSON) -> bool:
        """Return whether *event* of a stream was only sent because it was asked to report usage."""
        return False

    def is_alone(self, body: JSON) -> bool:
        """Return whether the request *body* goes on from what the provider has stored.

        Its answer is of that moment and changes what is stored, so no other call gets it.
        """
        return False


def mappings(value: object) -> list[JSON]:
    """Return the mappings in the list *value*; none if it is not a list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
