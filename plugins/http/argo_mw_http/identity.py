"""Identity: what of a request decides its answer, as a digest.

Everything that may affect an answer keeps requests apart: a header too many costs a request, one
too few gives a client the answer of another. A route may name what decides; credentials still keep
requests apart, unless the route names those too. Everything is a digest, since any part of a
request may be a secret: a path, a parameter, a header.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from argo_mw.plugin import is_of_balancer, leaves_answers_alone
from argo_mw_http.answers import Headers, digest_of
from argo_mw_http.config import Route
from argo_mw_http.credentials import is_credential, is_set_aside

PORTS: Final = {"http": 80, "https": 443}
"""The ports of schemes, where a URL names none."""
_INDIFFERENT: Final = frozenset(["cache-control", "pragma", "priority"])
"""Headers that decide no answer, besides those for tracing, counting and transport; if one does,
the answer's Vary says so."""
_ALWAYS: Final = frozenset(["accept-encoding", "host"])
"""Headers that decide whatever a route says: bodies are kept compressed as they came, and several
hosts may have one address."""
_OF_A_BODY: Final = "content-type"


@frozen
class HttpRequest:
    """A request, without a body or with one that was read.

    Attributes:
        method: The method, in upper case.
        scheme: The scheme.
        host: The host in lower case, without its port.
        port: The port.
        path: The path as it is sent, percent-encoded.
        query: What follows the question mark, as it is sent.
        user: Name and password in the URL.
        headers: Names and values.
        body: The body, or "" where it has none.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    user: str = field(default="", repr=False)
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def address(self) -> str:
        """Its scheme, host and port."""
        return f"{self.scheme}://{self._host}:{self.port}"

    @property
    def own_host(self) -> str:
        """What its header Host says, unless a client gives it another."""
        is_default = self.port == PORTS.get(self.scheme)
        return self._host if is_default else f"{self._host}:{self.port}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def identity_of(route: Route, request: HttpRequest) -> str:
    """Return a digest of all of *request* that decides its answer, by its *route*."""
    query = sorted(_deciding_query(route, request.query), key=lambda one: one[0])
    headers = sorted(_deciding_headers(route, request), key=lambda one: one[0])
    user = "" if route.credentials == () else request.user
    parts: list[str | bytes] = [request.path, user, f"{len(query)}"]
    parts += [raw for _, raw in query]
    parts += [part for header in headers for part in header]
    return digest_of([*parts, request.body])


def parameters_in(query: str) -> Iterator[tuple[str, str]]:
    """Yield the names, decoded, and the whole text of the parameters of a *query*."""
    for raw in query.split("&"):
        if raw:
            name = raw.partition("=")[0].replace("+", " ")
            yield unquote_to_bytes(name).decode("utf-8", "surrogateescape"), raw


def parameter_of(query: str, name: str) -> str | None:
    """Return the first value of the parameter *name* in a *query*, or ``None`` without one."""
    for own, raw in parameters_in(query):
        if own == name:
            value = raw.partition("=")[2].replace("+", " ")
            return unquote_to_bytes(value).decode("utf-8", "replace")
    return None


def shown_parts(route: Route, parts: Mapping[str, str]) -> dict[str, str]:
    """Return the named *parts* of a path that are not secret, for the parameters of a call."""
    return {
        name: value for name, value in parts.items() if not is_credential(name, route.credentials)
    }


def _deciding_query(route: Route, query: str) -> Iterator[tuple[str, str]]:
    """Yield the names and the whole text of the parameters that decide."""
    for name, raw in parameters_in(query):
        if route.query is None:
            decides = not is_set_aside(name, route.credentials)
        else:
            decides = name in route.query or is_credential(name, route.credentials)
        if decides:
            yield name, raw


def _deciding_headers(route: Route, request: HttpRequest) -> Iterator[tuple[str, str]]:
    named = None if route.headers is None else {name.lower() for name in route.headers}
    for given, value in request.headers:
        name = given.lower()
        if not _decides(route, named, name, has_body=bool(request.body)):
            continue
        if name == "cookie":
            cookies = sorted(one.strip() for one in value.split(";"))
            yield from ((name, one) for one in cookies if not is_of_balancer(one))
        elif name != "host" or value.strip().lower() != request.own_host:
            yield name, value.strip()


def _decides(route: Route, named: Set[str] | None, name: str, *, has_body: bool) -> bool:
    if name in _ALWAYS or is_credential(name, route.credentials):
        return True
    if name == _OF_A_BODY:
        return has_body
    if named is not None:
        return name in named
    indifferent = name in _INDIFFERENT or leaves_answers_alone(name)
    return not indifferent and not is_set_aside(name, route.credentials)
