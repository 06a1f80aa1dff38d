"""Failures: responses that are not answers, and what clients raise in place of one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from argo_mw.plugin import Action, UpstreamError
from argo_mw_http.answers import HttpAnswer
from argo_mw_http.freshness import moment_of

_FAILURES: Final = frozenset([408, 425, 429])
_SERVER_ERRORS: Final = 500
_NEVER_SENT: Final = frozenset(["ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"])
_LATE: Final = "TimeoutException"
_CLIENTS: Final = ("httpx", "httpx2")


class HttpFailed(UpstreamError):
    """A service responded with a failure, which the client that asked is given.

    Attributes:
        response: The response, for all callers that wait; ``None`` where it is its sender's alone.
    """

    response: HttpAnswer | None = None


def is_failure_of(status: int) -> bool:
    """Return whether *status* means that the service failed, not that the request was wrong."""
    return status >= _SERVER_ERRORS or status in _FAILURES


def failed(
    upstream: str, what: str, response: HttpAnswer | None, status: int, retry_after: float | None
) -> HttpFailed:
    """Return the error for a response that is a failure.

    Args:
        upstream: The service's name.
        what: What it responded, in a few words.
        response: The response, or ``None`` where it is its sender's alone.
        status: Its status.
        retry_after: Seconds after which it asks to be asked again, or ``None``.
    """
    error = HttpFailed(
        f"upstream {upstream!r} {what}",
        upstream=upstream,
        action=Action.SWITCH,  # retrying is up to the client
        retry_after=retry_after,
        status=status,
    )
    error.response = response
    return error


def retry_after_of(response: HttpAnswer, now: float) -> float | None:
    """Return the seconds that Retry-After of *response* says at *now*, seconds since the epoch."""
    said = response.header("retry-after")
    if said is None:
        return None
    if said.isascii() and said.isdigit():
        return float(said[:12])
    until = moment_of(said)
    return None if until is None else max(0.0, until - now)


def never_sent(error: BaseException) -> bool:
    """Return whether a client's *error* means that its request was not sent."""
    return any(not _NEVER_SENT.isdisjoint(_kinds(one)) for one in _with_causes(error))


def ran_out_of_time(error: BaseException) -> bool:
    """Return whether *error* means that the caller waits no longer."""
    return any(
        isinstance(one, (TimeoutError, asyncio.CancelledError)) or _LATE in _kinds(one)
        for one in _with_causes(error)
    )


def _kinds(error: BaseException) -> frozenset[str]:
    """Return the names of the classes of *error* that a client's library has defined."""
    return frozenset(
        kind.__name__
        for kind in type(error).__mro__
        if kind.__module__.partition(".")[0] in _CLIENTS
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and its causes, each once, since they may form a cycle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__
