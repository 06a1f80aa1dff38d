"""The types of ASGI 3, and functions that read a request's scope."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote

_WITH_HOST: Final = re.compile(rb"https?://([^/?#@]*)(?=[/?]|$)", re.IGNORECASE)
"""The beginning of a target that names its host (RFC 9112, section 3.2.2)."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientLeft(Exception):
    """The client closed its connection, or has stopped reading."""


class BrokenOff(Exception):
    """An answer broke off; the server closes the connection, so that the client notices."""


def path_of(scope: Mapping[str, Any]) -> str:
    """Return the path of a request as it was sent, without the prefix at which we are mounted."""
    raw = scope.get("raw_path")
    if raw and not raw.startswith(b"/"):
        raw = with_path(raw)
        raw = raw[_host_length(raw) :]
    # Some servers include the query in the raw path.
    path: str = raw.decode("ascii", "replace").partition("?")[0] if raw else quote(scope["path"])
    root: str = quote(scope.get("root_path", ""))
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path or "/"


def host_of(scope: Mapping[str, Any]) -> bytes | None:
    """Return the host that the target of a request names, which overrides its ``Host`` header."""
    raw = scope.get("raw_path")
    named = None if not raw or raw.startswith(b"/") else _WITH_HOST.match(raw)
    return None if named is None else named[1]


def with_path(target: bytes) -> bytes:
    """Return *target* with a path: a target that names its host may have none."""
    end = _host_length(target)
    return target[:end] + b"/" + target[end:] if end and target[end : end + 1] != b"/" else target


def _host_length(target: bytes) -> int:
    named = _WITH_HOST.match(target)
    return 0 if named is None else named.end()
