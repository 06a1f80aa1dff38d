"""Timestamps, as the table keeps them and as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

from argo_mw.plugin import BadParameter

MICROSECONDS = 1_000_000


def micros(seconds: float) -> int:
    """Return whole microseconds since the epoch, as the table keeps them."""
    return round(seconds * MICROSECONDS)


def from_utc(time: datetime | None) -> datetime | None:
    """Return *time*, written without a time zone, as one in UTC."""
    return None if time is None else time.replace(tzinfo=UTC)


def iso(timestamp: int) -> str:
    """Return microseconds since the epoch in ISO 8601, UTC."""
    return datetime.fromtimestamp(timestamp / MICROSECONDS, UTC).isoformat()


def timestamp_of(value: object) -> int | None:
    """Return the parameter *value*, a datetime or ``None``, in microseconds since the epoch.

    Raises:
        BadParameter: It is no datetime with a time zone.
    """
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        msg = f"{value!r} is no moment; give a datetime with a time zone"
        raise BadParameter(msg)
    return micros(value.timestamp())
