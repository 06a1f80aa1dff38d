"""Recording the events of an application for a test."""

from __future__ import annotations

from typing import TypeVar

from argo_mw.app.access import observe
from argo_mw.app.application import Argo
from argo_mw.model.events import Event

T = TypeVar("T")


class Captured:
    """Every event since :func:`capture_events` was called.

    Attributes:
        all: The events, in order.
    """

    def __init__(self) -> None:
        self.all: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: type[T]) -> list[T]:
        """Return the events of one *kind*."""
        return [event for event in self.all if isinstance(event, kind)]


def capture_events(argo: Argo) -> Captured:
    """Record the events of *argo* from now on."""
    captured = Captured()
    observe(argo, captured)
    return captured
