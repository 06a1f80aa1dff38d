"""Replies: read, checked for the shape that a command must have, and handed to its future.

A server that sends a reply of the wrong shape is treated as unreachable: the reply raises
``TypeError`` or ``ValueError``, which ends the connection.
"""

from __future__ import annotations

from typing import Any, Final, cast

from redis.exceptions import (
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from argo_mw.plugin import SharedUnavailable
from argo_mw.store import Count
from argo_mw_redis.batch import Command
from argo_mw_redis.refusals import refusal

_VALUES: Final = frozenset({bytes, type(None)})
# The server answers, but is not (or no longer) the right one, so that it must be found again.
WRONG_SERVER: Final = (RedisConnectionError, ReadOnlyError, MasterDownError, ClusterDownError)
"""Error replies that end the connection. LOADING is a ``RedisConnectionError``."""


def settle(command: Command, reply: Any, prefix: str) -> None:
    """Hand *reply* to the future of *command*; keys begin with *prefix*."""
    if command.done.done():  # its caller has left
        if command.late is not None and not isinstance(reply, ResponseError):
            command.late(command.read(reply))
        return
    if not isinstance(reply, ResponseError):
        command.done.set_result(command.read(reply))
        return
    try:
        command.read(reply)  # a reader that knows the error raises one of the core's
        raise SharedUnavailable(refusal(command.name, reply, prefix))
    except Exception as error:
        command.done.set_exception(error)
        command.done.exception()


def expect_ok(reply: Any) -> None:
    """Check the reply of a command that answers OK."""
    if not isinstance(reply, ResponseError) and reply != b"OK":
        msg = "OK was expected"
        raise InvalidResponse(msg)


def expect_integer(reply: Any) -> int:
    """Return the reply of a command that answers a number."""
    if not isinstance(reply, ResponseError) and type(reply) is not int:
        msg = "a number was expected"
        raise InvalidResponse(msg)
    return cast("int", reply)


def expect_value(reply: Any) -> bytes | None:
    """Return the reply of a command that answers a value, or ``None`` for none."""
    if not isinstance(reply, ResponseError) and type(reply) not in _VALUES:
        msg = "a value was expected"
        raise InvalidResponse(msg)
    return cast("bytes | None", reply)


def expect_values(reply: Any, count: int) -> list[bytes | None]:
    """Return the reply of a command that answers *count* values."""
    if not isinstance(reply, ResponseError) and not (
        isinstance(reply, list) and len(reply) == count and _VALUES.issuperset(map(type, reply))
    ):
        msg = f"{count} values were expected"
        raise InvalidResponse(msg)
    return cast("list[bytes | None]", reply)


def read_count(reply: Any) -> Count:
    """Return the reply of a script that answers a counter."""
    try:
        value, added, witnessed = reply
        return Count(int(value), added == 1, int(witnessed))
    except (TypeError, ValueError):
        if isinstance(reply, ResponseError):
            return Count(0, added=False)  # not used: the error is raised
        msg = "a count was expected"
        raise InvalidResponse(msg) from None


def read_grant(reply: Any) -> tuple[int | None, bytes | None, bytes | None]:
    """Return the fence of the lease if it was granted, the value that was wanted with it, and the
    value that was found, so that no lease was asked for.
    """
    if isinstance(reply, ResponseError):
        return None, None, None  # not used: the error is raised
    fence, value, *found = reply
    grant = None if fence is None else int(fence)
    return grant, expect_value(value), expect_value(found[0]) if found else None


def read_whether_set(reply: Any) -> bool:
    """Return whether a ``SET`` took place."""
    if reply is None or isinstance(reply, ResponseError):
        return False
    expect_ok(reply)
    return True


def read_page(reply: Any) -> tuple[bytes, list[bytes]]:
    """Return the next cursor, and the keys of one page of a ``SCAN``."""
    if isinstance(reply, ResponseError):
        return b"0", []
    cursor, keys = reply
    if type(cursor) is not bytes or not all(type(key) is bytes for key in keys):
        msg = "a page of keys was expected"
        raise InvalidResponse(msg)
    return cursor, keys


def read_text(reply: Any) -> str:
    """Return a report as text."""
    return reply.decode(errors="replace") if isinstance(reply, bytes) else ""
