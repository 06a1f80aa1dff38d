"""Routes: which endpoint of which plugin answers a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from attrs import frozen

from argo_mw.plugin import Endpoint, Log

log = Log("argo_mw")

_NEEDLESS: Final = re.compile(
    r"%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])", re.ASCII
)
"""Characters that are never percent-encoded (RFC 3986, section 2.3)."""
_UNPLAIN: Final = re.compile(
    r"//|/\.{1,2}(?:/|$)|[^\x21-\x7e]|[\\#?]|%(?![0-9a-f]{2})|%(?:[01][0-9a-f]|7f)", re.IGNORECASE
)


_SEPARATORS: Final = re.compile(r"[/\\]")


@frozen
class Route:
    """An endpoint that answers a request.

    Attributes:
        plugin: The plugin that offers it.
        endpoint: The endpoint.
        rest: The part of the path that its ``*`` matches.
    """

    plugin: str
    endpoint: Endpoint
    rest: str = ""


class Routes:
    """The endpoints of all plugins.

    Args:
        offered: The endpoints, by plugin.
    """

    def __init__(self, offered: Mapping[str, Sequence[Endpoint]]) -> None:
        self._exact: dict[str, list[Route]] = {}
        self._below: list[Route] = []
        for plugin, endpoints in offered.items():
            for endpoint in endpoints:
                route = Route(plugin, endpoint)
                if endpoint.path.endswith("/*"):
                    self._below.append(route)
                else:
                    self._exact.setdefault(endpoint.path, []).append(route)
        self._below.sort(key=lambda route: -len(route.endpoint.path))
        self._report_rivals()

    @property
    def all(self) -> Sequence[Route]:
        """The routes, sorted by path."""
        exact = [route for routes in self._exact.values() for route in routes]
        return sorted([*exact, *self._below], key=lambda route: route.endpoint.path)

    def find(self, method: str, path: str) -> Route | Sequence[str]:
        """Return the route of *method* and *path*; if there is none, the methods that *path* takes.

        Of several endpoints that match, the one with the longest path answers.
        """
        allowed: set[str] = set()
        for route in self._exact.get(path, ()):
            if _takes(route.endpoint, method):
                return route
            allowed |= route.endpoint.methods
        for route in self._below:
            prefix = route.endpoint.path[:-1]
            if path.startswith(prefix):
                if _takes(route.endpoint, method):
                    return Route(route.plugin, route.endpoint, path[len(prefix) :])
                allowed |= route.endpoint.methods
        return sorted(allowed)

    def _report_rivals(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for route in self.all:
            for method in route.endpoint.methods or ("all methods",):
                other = seen.setdefault((route.endpoint.path, method), route.plugin)
                if other != route.plugin:
                    log.warning(
                        "two plugins offer an endpoint; the first one answers",
                        path=route.endpoint.path,
                        first=other,
                        second=route.plugin,
                    )


def fault_of_path(path: str) -> str:
    """Return why *path* may mean different things to different readers, or "".

    The path decides whether a client may ask: an upstream that reads it differently would answer
    another question than the one that was permitted.
    """
    if _UNPLAIN.search(path):
        return "its path has empty parts, dots for parts, or characters that no path has"
    if _NEEDLESS.search(path):
        return "its path hides letters behind percent signs: write them as they are"
    if _leads_up(path):
        return "its path has dots for parts behind percent signs or semicolons"
    return ""


def _leads_up(path: str) -> bool:
    """Return whether *path* leads elsewhere for a server that decodes it before splitting it.

    A slash that belongs to a name, such as that of a model, is written as ``%2F``. Some servers
    decode it first, some twice, and some drop what follows a semicolon.
    """
    if "%" not in path and ";" not in path:
        return False
    decoded, before = unquote(path), path
    while decoded != before:
        decoded, before = unquote(decoded), decoded
    return any(part.partition(";")[0] in (".", "..") for part in _SEPARATORS.split(decoded))


def _takes(endpoint: Endpoint, method: str) -> bool:
    return not endpoint.methods or method in endpoint.methods
