"""The table ``[plugins.http]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, Literal
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen, validators

from argo_mw.plugin import Duration, Scope, Secret, Shown, is_loopback, suggest
from argo_mw_http.credentials import is_credential
from argo_mw_http.flags import slug, upstream_of
from argo_mw_http.patterns import PathPattern
from argo_mw_http.routes import Place, Routes, place_of

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]

_MEBIBYTE: Final = 1 << 20
SAFE: Final = ("GET", "HEAD", "OPTIONS")
"""Methods of requests that change nothing (RFC 9110)."""
_RESERVED: Final = ("address", "identity")
"""Parameters that every operation of a route has beside the named parts of its path."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def _a_name(_: object, attribute: Attribute[str], value: str) -> None:
    if value and not _NAME.fullmatch(value):
        msg = f"{attribute.name} is {value!r}; write letters, digits, and any of _ - ."
        raise ValueError(msg)


@frozen
class Route:
    """An entry of ``[[plugins.http.routes]]``: requests that pass the chain.

    Attributes:
        host: The host, such as ``api.example.com``; with ``:8080``, at that port only.
        path: The path, with named parts: ``/v2/stocks/{symbol}/bars``. ``{name}`` stands for a
            segment or a part of one, ``{name:path}`` at the end for all that follows.
        name: The operation's name; by default made of host and path.
        api: The name of the service, which is that of the upstream: its flag is ``upstream.API``,
            and its quotas are in ``[upstreams.API]``. By default made of the host.
        method: The method.
        safe: Whether requests by another method than GET, HEAD and OPTIONS change nothing, such as
            a search by POST. Only then are their answers shared; their bodies are part of the key.
        subject: What a request is about, such as its symbol: the name of a part of the path, or of
            a parameter of the query.
        query: The parameters of the query that affect the answer; by default all.
        headers: The headers that affect the answer; by default all except those known not to, such
            as headers for tracing.
        credentials: The headers and parameters of the query that are credentials: a digest of them
            is part of the key. By default all with a name like that of one. An empty list means
            that the answer is the same for every credential.
        data_type: What kind of data answers are, such as ``market_data``.
        scope: Whether tenants share answers: ``tenant`` or ``public``.
        status: The statuses of answers. A response with another status goes to the callers that
            wait for it, and is not kept.
        errors: JSON pointers, such as ``/error``, to values that mark a body as an error, whatever
            its status, unless they are missing, empty, null, false or 0.
        price: US dollars that a request costs.
        ttl: How long an answer is fresh, in seconds or as ``"2m"``; by default the layers decide.
        grace: How long after its expiry an answer may be served if no newer one can be had; by
            default the layer that keeps answers decides, and with ``cache_control`` not at all.
        cache_control: Whether Cache-Control, Expires and Age of a response limit its life, and
            Cache-Control of a request is obeyed.
        conditional: Whether an answer with an ETag or Last-Modified is asked for anew with the
            condition that it has changed.
    """

    host: Shown = field(validator=validators.min_len(1))
    path: Shown = field()
    name: Shown = field(default="", validator=_a_name)
    api: Shown = field(default="", validator=_a_name)
    method: Method = "GET"
    safe: bool = False
    subject: Shown = ""
    query: tuple[Shown, ...] | None = None
    headers: tuple[Shown, ...] | None = None
    credentials: tuple[Shown, ...] | None = None
    data_type: Shown = ""
    scope: Scope = "tenant"
    status: tuple[int, ...] = (200,)
    errors: tuple[Shown, ...] = ()
    price: float = field(default=0.0, validator=[validators.ge(0), validators.le(1e6)])
    ttl: Duration | None = field(default=None, validator=validators.optional(validators.gt(0)))
    grace: Duration | None = None
    cache_control: bool = False
    conditional: bool = True

    def __attrs_post_init__(self) -> None:
        """Check what the keys say together.

        Raises:
            ValueError: They cannot be.
        """
        names = self.pattern.names
        taken = [name for name in names if name in _RESERVED]
        if taken:
            msg = f"the path {self.path!r} has a part called {taken[0]!r}; give it another name"
            raise ValueError(msg)
        place_of(self.host)
        if self.subject and self.subject not in names and self.query is not None:
            known = (*names, *self.query)
            if self.subject not in self.query:
                msg = (
                    f"subject is {self.subject!r}, which is neither a part of the path nor among "
                    f"the parameters in query: {suggest(self.subject, known)}"
                )
                raise ValueError(msg)
        if self.subject in _RESERVED:
            msg = f"subject is {self.subject!r}, a word that has another meaning here"
            raise ValueError(msg)
        if self.subject and is_credential(self.subject, self.credentials):
            msg = (
                f"subject is {self.subject!r}, which may be a credential, and a subject is shown; "
                "where it is none, name those that are: credentials = [...]"
            )
            raise ValueError(msg)
        if any(not pointer.startswith("/") for pointer in self.errors):
            msg = f"errors are {list(self.errors)}; a JSON pointer begins with a slash: '/error'"
            raise ValueError(msg)
        if any(not 200 <= status <= 599 for status in self.status):
            msg = f"status is {list(self.status)}; name statuses such as 200"
            raise ValueError(msg)

    @cached_property
    def pattern(self) -> PathPattern:
        """The pattern of its paths."""
        return PathPattern(self.path)

    @cached_property
    def place(self) -> Place:
        """Its host and port."""
        return place_of(self.host)

    @cached_property
    def operation(self) -> str:
        """The name of its operation."""
        if self.name:
            return self.name
        method = "" if self.method == "GET" else f"_{self.method}"
        return f"http_{slug(f'{self.host}{self.path}{method}')}"

    @cached_property
    def upstream(self) -> str:
        """The name of its upstream."""
        return self.api or upstream_of(self.host)

    @property
    def is_shared(self) -> bool:
        """Whether requests by its method may share answers."""
        return self.safe or self.method in SAFE


@frozen
class ApiTable:
    """A table ``[plugins.http.apis.NAME]``: a service, for programs that come through a gateway.

    Attributes:
        url: Its address; by default ``https://`` and the host of its first route, or ``http://``
            where that is this machine.
        headers: Headers that are put into each request, such as the service's key.
        query: Parameters that are put into each query.
    """

    url: Shown = ""
    headers: Mapping[str, Secret] = field(factory=dict)
    query: Mapping[str, Secret] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Check that what is put into requests reaches the service, and is encrypted on its way.

        Raises:
            ValueError: It does not, or is not.
        """
        if not self.url:
            return
        parts = urlsplit(self.url)
        beside = parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in ("https", "http") or not parts.hostname or beside:
            msg = f"url is {self.url!r}; write it as https://api.example.com/v2"
            raise ValueError(msg)
        has_secrets = bool(self.headers or self.query)
        if has_secrets and parts.scheme == "http" and not is_loopback(parts.hostname):
            msg = (
                f"url {self.url!r} would send its headers and query in the clear; use https://, "
                "or http:// to this machine"
            )
            raise ValueError(msg)


@frozen
class HttpConfig:
    """The table ``[plugins.http]``.

    Attributes:
        routes: The requests that pass the chain: of several that match, the first. All others go
            straight through, and are counted.
        apis: The services of the routes, by name, for programs that come through a gateway.
        max_bytes: The largest body of an answer that is shared, in bytes before decompression. A
            larger one goes only to its own caller, as it comes.
        max_validated_bytes: The most bytes of answers kept in order to ask the service whether they
            have changed.
    """

    routes: tuple[Route, ...] = ()
    apis: Mapping[str, ApiTable] = field(factory=dict)
    max_bytes: int = field(default=16 * _MEBIBYTE, validator=validators.gt(0))
    max_validated_bytes: int = field(default=64 * _MEBIBYTE, validator=validators.ge(0))

    def __attrs_post_init__(self) -> None:
        """Check the routes together.

        Raises:
            ValueError: Two are called alike, one is never reached, or a service has none.
        """
        _ = self.table
        names: set[str] = set()
        for route in self.routes:
            if route.operation in names:
                msg = f"two routes are called {route.operation!r}; give each a name of its own"
                raise ValueError(msg)
            names.add(route.operation)
        for name in self.apis:
            if name not in self.by_api:
                msg = f"apis.{name} has no route that names it as its api: " + suggest(
                    name, self.by_api
                )
                raise ValueError(msg)

    @cached_property
    def table(self) -> Routes[Route]:
        """The routes, to be found by requests."""
        return Routes(self.routes)

    @property
    def by_api(self) -> Mapping[str, Sequence[Route]]:
        """The routes by the names of their upstreams."""
        found: dict[str, list[Route]] = {}
        for route in self.routes:
            found.setdefault(route.upstream, []).append(route)
        return {name: tuple(routes) for name, routes in found.items()}
