"""Timestamps of rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.plugin import BadParameter, from_utc, iso_time, micros, timestamp_of

ZONES = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-4))]
)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=ZONES))
def test_a_time_is_kept_to_the_microsecond_whatever_its_zone(time: datetime) -> None:
    timestamp = timestamp_of(time)
    assert timestamp is not None
    assert time == datetime.fromisoformat(iso_time(timestamp))


def test_no_time_has_no_timestamp() -> None:
    assert (None, None) == (timestamp_of(None), from_utc(None))


@pytest.mark.parametrize("value", [datetime(2026, 11, 30), "2026-11-30", 1.5])
def test_what_is_no_moment_is_refused(value: object) -> None:
    with pytest.raises(BadParameter, match="give a datetime with a time zone"):
        timestamp_of(value)


def test_a_time_that_is_written_without_a_zone_is_in_utc() -> None:
    assert datetime(2026, 11, 30, tzinfo=UTC) == from_utc(datetime(2026, 11, 30))


def test_seconds_are_rounded_to_the_next_microsecond() -> None:
    assert 1_500_001 == micros(1.500_000_6)
