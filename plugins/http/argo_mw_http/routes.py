"""Routes: finding the one that a request belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from attrs import frozen

from argo_mw_http.patterns import PathPattern


@frozen
class Place:
    """A host, and a port or ``None`` for any."""

    host: str
    port: int | None


def place_of(host: str) -> Place:
    """Return the place that *host* names, such as ``api.example.com`` or ``127.0.0.1:8080``.

    Raises:
        ValueError: It names none.
    """
    try:
        parts = urlsplit(f"//{host}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    beside = parts.path or parts.query or parts.fragment or "@" in host if name else True
    if not name or beside or any(blank.isspace() for blank in host):
        msg = f"host is {host!r}; write it as api.example.com, without scheme and path"
        raise ValueError(msg)
    return Place(name.encode("idna").decode() if not name.isascii() else name, port)


class Routed(Protocol):
    """What a route says of the requests that belong to it."""

    @property
    def method(self) -> str: ...
    @property
    def place(self) -> Place: ...
    @property
    def path(self) -> str: ...
    @property
    def pattern(self) -> PathPattern: ...
    @property
    def is_shared(self) -> bool: ...


R = TypeVar("R", bound=Routed)


@frozen
class Match(Generic[R]):
    """The route of a request.

    Attributes:
        route: The route.
        parts: What the named parts of its path stand for.
    """

    route: R
    parts: Mapping[str, str]


class Routes(Generic[R]):
    """Routes, to be found by requests: of several that match, the first.

    Args:
        routes: The routes in their order.

    Raises:
        ValueError: One is never reached, since one before it matches all its requests.
    """

    def __init__(self, routes: Iterable[R]) -> None:
        self._routes: dict[tuple[str, str], list[R]] = {}
        self._shared: dict[str, list[R]] = {}
        for route in routes:
            others = self._routes.setdefault((route.method, route.place.host), [])
            before = next((one for one in others if _hides(one, route)), None)
            if before is not None:
                msg = (
                    f"the route {route.method} {route.path} is never reached: {before.path} before "
                    "it matches the same requests"
                )
                raise ValueError(msg)
            others.append(route)
            if route.is_shared:
                self._shared.setdefault(route.place.host, []).append(route)

    def match(self, method: str, host: str, port: int | None, path: str) -> Match[R] | None:
        """Return the route of a request, or ``None`` where it has none.

        Args:
            method: The method, in upper case.
            host: The host in lower case, without its port.
            port: The port, also where it is the scheme's own.
            path: The path as it is sent, percent-encoded, without its query.
        """
        for route in self._routes.get((method, host), ()):
            if route.place.port not in (None, port):
                continue
            parts = route.pattern.match(path)
            if parts is not None:
                return Match(route, parts)
        return None

    def read_at(self, host: str, port: int | None, path: str) -> Sequence[R]:
        """Return the routes whose answers a change at *path* may put out of date.

        Args:
            host: The host in lower case, without its port.
            port: The port, also where it is the scheme's own.
            path: The path as it is sent, percent-encoded, without its query.
        """
        return [
            route
            for route in self._shared.get(host, ())
            if route.place.port in (None, port) and route.pattern.match(path) is not None
        ]


def _hides(one: Routed, other: Routed) -> bool:
    same_port = one.place.port is None or one.place.port == other.place.port
    return same_port and one.pattern.shape == other.pattern.shape
