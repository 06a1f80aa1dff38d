"""Durations as people write them: ``"90s"``, ``"2m"``, ``"1h30m"``."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Final, SupportsFloat

from argo_mw.base.errors import BadParameter
from argo_mw.base.printable import brief

_UNITS: Final = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3_600.0,
    "d": 86_400.0,
    "w": 7 * 86_400.0,
}
_PART: Final = re.compile(r"\s{0,9}(\d{1,20}(?:\.\d{1,20})?)\s{0,9}(ms|[smhdw])")
_MAX_TEXT: Final = 40


def seconds(duration: float | str) -> float:
    """Return the seconds of *duration*: a number of seconds, or a text such as ``"1h30m"``.

    Args:
        duration: Seconds, or numbers with the units ``ms``, ``s``, ``m`` (minutes), ``h``, ``d``
            and ``w``.

    Raises:
        BadParameter: It is not a duration, or negative.
    """
    if isinstance(duration, str):
        return _read(duration)
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise _no_duration(duration)
    if not 0.0 <= duration < math.inf:
        raise _no_duration(duration)
    return float(duration)


def above_zero(name: str, number: object) -> float:
    """Return *number* as the seconds that the option *name* takes.

    Raises:
        BadParameter: It is not above zero, or none.
    """
    if isinstance(number, SupportsFloat):
        with suppress(OverflowError, TypeError, ValueError):
            found = float(number)
            if found > 0:
                return found
    msg = f"{name} is {brief(number)}; give a number of seconds above zero"
    raise BadParameter(msg)


def _read(text: str) -> float:
    total, at = 0.0, 0
    end = len(text.rstrip()) if len(text) <= _MAX_TEXT else -1
    while at < end:
        part = _PART.match(text, at)
        if part is None:
            raise _no_duration(text)
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if end <= 0:
        raise _no_duration(text)
    return total


def _no_duration(given: object) -> BadParameter:
    example = 'write seconds, or a text such as "90s" or "1h30m"'
    return BadParameter(f"{repr(given)[:_MAX_TEXT]} is not a duration; {example}")
