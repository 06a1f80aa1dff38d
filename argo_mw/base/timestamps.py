"""Timestamps, as tables keep them (whole microseconds since the epoch) and as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from argo_mw.base.errors import BadParameter

MICROSECONDS: Final = 1_000_000
"""How many microseconds a second has: timestamps are counted in them."""


def micros(seconds: float) -> int:
    """Return the timestamp of a moment that is given in seconds since the epoch."""
    return round(seconds * MICROSECONDS)


def from_utc(time: datetime | None) -> datetime | None:
    """Return *time*, written without a time zone, as one in UTC."""
    return None if time is None else time.replace(tzinfo=UTC)


def iso_time(timestamp: int) -> str:
    """Return *timestamp*, in microseconds since the epoch, in ISO 8601, UTC."""
    return datetime.fromtimestamp(timestamp / MICROSECONDS, UTC).isoformat()


def timestamp_of(value: object) -> int | None:
    """Return the parameter *value*, a datetime or ``None``, in microseconds since the epoch.

    Raises:
        BadParameter: It is not a datetime with a time zone.
    """
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        msg = f"{value!r} is not a moment; give a datetime with a time zone"
        raise BadParameter(msg)
    return micros(value.timestamp())
