"""The types of ASGI 3, and what is read from a request's scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientLeft(Exception):
    """The client closed its connection, or takes nothing any more."""


class BrokenOff(Exception):
    """An answer ends before it is whole: the server closes the connection, so that this shows."""


def path_of(scope: Mapping[str, Any]) -> str:
    """Return the path of a request as it was sent, without the place where we are mounted."""
    raw = scope.get("raw_path")
    # Some servers leave the query in it, or leave it out.
    path: str = raw.decode("ascii", "replace").partition("?")[0] if raw else quote(scope["path"])
    root: str = quote(scope.get("root_path", ""))
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return path or "/"
