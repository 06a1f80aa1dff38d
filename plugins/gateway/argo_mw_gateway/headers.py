"""Headers of requests: which are ambiguous, and which concern only one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from argo_mw_gateway.asgi import host_of

Headers = Sequence[tuple[str, str]]

_ONCE: Final = frozenset(
    [
        "anthropic-version",
        "api-key",
        "argo-mw-epoch",
        "argo-mw-key",
        "argo-mw-sample",
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "x-api-key",
    ]
)
"""Headers that decide which client asks, which host, and how the body is read."""
_OPTIONS: Final = frozenset(["close", "keep-alive", "upgrade"])


def headers_of(scope: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the headers of a request, names in lower case.

    The host that its target names replaces that of its ``Host`` header (RFC 9112, 3.2.2).
    """
    host = host_of(scope)
    return [
        (
            name.decode("latin-1"),
            (value if host is None or name != b"host" else host).decode("latin-1"),
        )
        for name, value in scope["headers"]
    ]


def size_of(headers: Headers) -> int:
    """Return the size of *headers* in bytes."""
    return sum(len(name) + len(value) for name, value in headers)


def fault_of_headers(headers: Headers) -> str:
    """Return why *headers* may mean different things to different readers, or "".

    If a header came twice, we might use one value and the upstream the other.
    """
    seen = set()
    for name, _ in headers:
        if name in seen and name in _ONCE:
            return f"it has the header {name} twice"
        seen.add(name)
    if "content-length" in seen and "transfer-encoding" in seen:
        return "it has both content-length and transfer-encoding"
    return ""


def without_connection(headers: Headers) -> Headers:
    """Return *headers* without those that their ``Connection`` header names as hop-by-hop."""
    named = {
        option.strip().lower()
        for name, value in headers
        if name == "connection"
        for option in value.split(",")
    }
    if named <= _OPTIONS:
        return headers
    return [(name, value) for name, value in headers if name not in named]
