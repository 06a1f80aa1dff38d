"""Moments, as tables keep them and as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

from argo_mw_persist.records import MICROSECONDS


def from_utc(moment: datetime | None) -> datetime | None:
    """*moment*, written without a time zone, as one in UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def shown(timestamp: int) -> str:
    """Microseconds since the epoch in ISO 8601, UTC."""
    return datetime.fromtimestamp(timestamp / MICROSECONDS, UTC).isoformat()
