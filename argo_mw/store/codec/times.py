"""Codecs of dates, times and time zones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from argo_mw.base.errors import NotEncodable


def zone_to_plain(zone: dt.tzinfo | None) -> object:
    """Turn a time zone into plain data.

    Raises:
        NotEncodable: It is none of those with a name: fixed, ``zoneinfo`` or ``pytz``.
    """
    if zone is None:
        return None
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        plain = ["fixed", offset // dt.timedelta(microseconds=1)]
        return plain if dt.timezone(offset).tzname(None) == name else [*plain, name]
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return ["zoneinfo", zone.key]
    if type(zone).__module__.partition(".")[0] == "pytz" and getattr(zone, "zone", None):
        return ["pytz", zone.zone]  # type: ignore[attr-defined]
    msg = f"the time zone {zone!r} has no name to store; use zoneinfo or a fixed offset"
    raise NotEncodable(msg)


def zone_from_plain(plain: Any) -> dt.tzinfo | None:
    """Turn the result of :func:`zone_to_plain` back into a time zone."""
    if plain is None:
        return None
    kind, key, *name = plain
    if kind == "fixed":
        return dt.timezone(dt.timedelta(microseconds=key), *name)
    if kind == "zoneinfo":
        return ZoneInfo(key)
    if kind == "pytz":
        import pytz

        return cast("dt.tzinfo", pytz.timezone(key))
    msg = f"unknown kind of time zone {kind!r}"
    raise ValueError(msg)


def _datetime_to_plain(value: dt.datetime) -> object:
    zone = zone_to_plain(value.tzinfo)
    if zone is not None and zone[0] == "pytz":  # type: ignore[index]
        # pytz has an object for each offset of a zone: only from UTC is the right one found again.
        value = value.astimezone(dt.UTC)
    fields = (value.year, value.month, value.day, value.hour, value.minute, value.second)
    return [*fields, value.microsecond, value.fold, zone]


def _datetime_from_plain(plain: Any) -> dt.datetime:
    *fields, fold, zone = plain
    if zone is not None and zone[0] == "pytz":
        utc = dt.datetime(*fields[:7]).replace(tzinfo=dt.UTC)  # noqa: DTZ001
        return utc.astimezone(zone_from_plain(zone))
    return dt.datetime(*fields[:7]).replace(fold=fold, tzinfo=zone_from_plain(zone))  # noqa: DTZ001


def _time_to_plain(value: dt.time) -> object:
    fields = (value.hour, value.minute, value.second, value.microsecond)
    return [*fields, value.fold, zone_to_plain(value.tzinfo)]


def _time_from_plain(plain: Any) -> dt.time:
    *fields, fold, zone = plain
    return dt.time(*fields[:4]).replace(fold=fold, tzinfo=zone_from_plain(zone))


Pair = tuple[Callable[[Any], object], Callable[[Any], object]]

TIMES: Final[Mapping[type, Pair]] = {
    dt.datetime: (_datetime_to_plain, _datetime_from_plain),
    dt.date: (dt.date.toordinal, dt.date.fromordinal),
    dt.time: (_time_to_plain, _time_from_plain),
    dt.timedelta: (
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda plain: dt.timedelta(*plain),
    ),
}
