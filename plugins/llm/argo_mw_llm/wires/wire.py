"""The interface of a wire: a network protocol of requests for answers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from argo_mw_llm.answers import Usage
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.costs.bounds import Bound, Limiting
from argo_mw_llm.costs.counts import Counts

JSON = Mapping[str, object]


class Read(NamedTuple):
    """What a whole answer tells about itself.

    Attributes:
        usage: The tokens it took, or ``None`` if its count is missing or impossible.
        model: The model.
        stop: Why it ended; see :class:`~argo_mw_llm.answers.Completion`.
    """

    usage: Usage | None
    model: str
    stop: str


class Wire(ABC):
    """A protocol of requests for answers.

    Attributes:
        name: Its name in the configuration.
        path: The end of the paths of its requests.
        task: The task of a model, in OpenTelemetry's words; "" for answering a conversation.
        counts: How the fields of its usage are booked.
        marks: Texts in the lines of a stream that need to be decoded.
        last: A text in the beginning of a stream's last event.
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
        """Return usage, model and stop of the whole answer *body*; *content* is its bytes."""

    @abstractmethod
    def read_event(self, event: JSON, ending: Ending) -> None:
        """Add what *event* of a stream tells about its answer."""

    def finish(self, ending: Ending, raw: bytes) -> None:  # noqa: B027 - most have nothing to add
        """Add what only all bytes of a stream tell, once it has ended."""

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

        There are none if it does so by itself, or if no stream is asked for.
        """
        return {}

    def reports_usage_alone(self, event: JSON) -> bool:
        """Return whether *event* of a stream only reports the usage that was asked for."""
        return False

    def is_alone(self, body: JSON) -> bool:
        """Return whether the request *body* continues from what the provider has stored.

        Its answer depends on what is stored then, and changes it, so it is not shared.
        """
        return False


def mappings(value: object) -> list[JSON]:
    """Return the mappings in the list *value*; none if it is not a list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
