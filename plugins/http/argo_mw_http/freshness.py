"""Freshness: what the headers of a response say of its life, by RFC 9111.

Headers only shorten a life: none is guessed from Last-Modified, and no stale answer is served
because a header allows it; a route's own ``grace`` decides that.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.request import parse_http_list

from attrs import frozen

from argo_mw_http.answers import HttpAnswer

_LONGEST: Final = 10 * 365 * 86_400.0
"""Seconds after which nothing is fresh; RFC 9111 lets caches cut off there."""
_MAX_HEADER: Final = 4096
"""Characters of a Cache-Control that are read; of a longer one, nothing is kept."""


@frozen
class Life:
    """What a response says of its life.

    Attributes:
        seconds: For how long it is fresh from now on; ``None`` where it does not say.
        kept: Whether it may be kept, or given to others than the caller of its request.
        why: What says so, in a few words.
    """

    seconds: float | None = None
    kept: bool = True
    why: str = ""


def life_of(answer: HttpAnswer, now: float, *, public: bool) -> Life:
    """Return what *answer* says of its life.

    Args:
        answer: The answer.
        now: Seconds since the epoch.
        public: Whether it would be served to several tenants.
    """
    said = answer.header("cache-control") or ""
    if len(said) > _MAX_HEADER:
        return Life(kept=False, why="its Cache-Control is too long to be read")
    directives = directives_of(said)
    if "no-store" in directives:
        return Life(kept=False, why="no-store")
    if public and "private" in directives:
        return Life(kept=False, why="private")
    if "no-cache" in directives:
        return Life(0.0, why="no-cache")
    for name in ("s-maxage", "max-age") if public else ("max-age",):
        if name in directives:
            seconds = _seconds(directives[name])
            return Life(_left(answer, seconds, now), why=f"{name} is {seconds:.0f}")
    expires = answer.header("expires")
    if expires is None:
        return Life()
    until, since = moment_of(expires), moment_of(answer.header("date") or "")
    if until is None:
        return Life(0.0, why="it has expired")
    return Life(_left(answer, until - (now if since is None else since), now), why="it expires")


def directives_of(header: str) -> Mapping[str, str]:
    """Return the directives of a Cache-Control, by their names in lower case.

    If one is given twice, its smaller value counts.
    """
    found: dict[str, str] = {}
    for one in parse_http_list(header):
        name, _, value = one.partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name in found and _seconds(found[name]) <= _seconds(value):
            continue
        found[name] = value
    return found


def asked_for(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the directives of a request with *headers*, by their names in lower case."""
    said = headers.get("cache-control")
    if said is None:
        return {"no-cache": ""} if headers.get("pragma", "").lower() == "no-cache" else {}
    return directives_of(said[:_MAX_HEADER])


def seconds_in(directives: Mapping[str, str], name: str) -> float | None:
    """Return the seconds that directive *name* gives, or ``None`` without it."""
    return _seconds(directives[name]) if name in directives else None


def _left(answer: HttpAnswer, fresh: float, now: float) -> float:
    """Return how many of the *fresh* seconds are left."""
    return max(0.0, min(fresh, _LONGEST) - _age(answer, now))


def _age(answer: HttpAnswer, now: float) -> float:
    """Return how old *answer* was when it came: by its Age, else by its Date."""
    said = answer.header("age")
    age = _seconds(said.partition(",")[0]) if said is not None else 0.0
    date = moment_of(answer.header("date") or "")
    return max(age, 0.0 if date is None else now - date)


def _seconds(value: str) -> float:
    """Return the seconds of a directive; what cannot be read counts as none."""
    value = value.strip().strip('"')
    return min(float(value[:20]), _LONGEST) if value.isascii() and value.isdigit() else 0.0


def moment_of(date: str) -> float | None:
    """Return the seconds since the epoch of a *date* in a header, or ``None``."""
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None
