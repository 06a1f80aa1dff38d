"""The client of Anthropic's SDK behind a middleware.

The SDK gives its middleware a request without its client, which adds address, headers and
credential later. Since they decide the answer, the client is looked up in the closures of the SDK's
handlers. If a version of the SDK keeps it elsewhere, it is not found: then a request is sent
without sharing anything, and its answer is for its own caller only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, get_args, get_origin

import anthropic
import httpx2
from anthropic import APIRequest, APIResponse, AsyncAPIResponse, Omit
from anthropic.types import Message

from argo_mw_llm.clients.identity import Identity, Remembered, account_of, identity_of, nobody_else

_CLIENT, _REST = "self", "call_next"
"""The closure variables of the SDK's handlers that hold their client, or the next handler."""
_MAX_DEPTH: Final = 1000
_PROPERTIES = ("base_url", "default_headers", "default_query", "qs", "timeout")
"""The attributes that an object must have to be a client."""
_SECRETIVE = ("credentials", "creds", "token_provider")
"""Parts of the names of attributes with credentials, which no header shows yet."""


class ClientView:
    """A view of the client behind a middleware; it may be unknown."""

    def __init__(self, client: Any | None, *, blocking: bool) -> None:
        self._client = client
        self._blocking = blocking

    @classmethod
    def behind(cls, call_next: object, *, blocking: bool = False) -> ClientView:
        """Return the client that sends what *call_next* is called with."""
        return cls(_client_behind(call_next), blocking=blocking)

    @property
    def known(self) -> bool:
        """Whether the client was found."""
        return self._client is not None

    def identity(self, request: APIRequest, remembered: Remembered[Identity]) -> Identity:
        """Return the endpoint and account of *request*."""
        client = self._client
        if client is None:
            return nobody_else(request.url.partition("?")[0])
        account = _account(client)

        def make() -> Identity:
            return identity_of(self._url(request), self._headers(request), account)

        if client.default_query or request.query_params:
            return make()  # parameters may hold what changes, which no comparison would show
        headers = client.default_headers, dict(request.headers)
        return remembered.of(request.url, (client.base_url, headers, account), make)

    def patience(self, request: APIRequest) -> float | None:
        """Return the seconds that the client waits for the beginning of an answer."""
        timeout = request.timeout
        if isinstance(timeout, anthropic.NotGiven):
            timeout = None if self._client is None else self._client.timeout
        return timeout.read if isinstance(timeout, httpx2.Timeout) else timeout

    def http_request(self, request: APIRequest) -> httpx2.Request:
        """Return *request* as it would be sent, without its body."""
        if self._client is None:
            url = httpx2.URL("https://argo-mw.invalid").join(request.url)
            return httpx2.Request(request.method.upper(), url)
        url, headers = self._url(request), self._headers(request)
        return httpx2.Request(request.method.upper(), url, headers=list(headers))

    def view(self, request: APIRequest, response: httpx2.Response) -> Any:
        """Return the SDK's view of *response*, which answers *request* without sending it."""
        cast_to = Message if request.cast_to is None else request.cast_to
        if cast_to == httpx2.Response:
            return response
        kind: Any = APIResponse if self._blocking else AsyncAPIResponse
        if _is_response(cast_to):
            kind, cast_to = cast_to, _content_type(cast_to)
        return kind(
            raw=response,
            client=self._client or _reader(blocking=self._blocking),
            cast_to=cast_to,
            stream=request.stream,
            stream_cls=request.stream_cls,
            options=request.options,
            retries_taken=request.retries_taken,
        )

    def whole(self, request: APIRequest, view: Any) -> Any:
        """Return the SDK's *view* of an unread response as if the SDK had read it."""
        if not self.known or isinstance(view, httpx2.Response):
            return view
        return self.view(request, view.http_response)

    def _url(self, request: APIRequest) -> httpx2.URL:
        assert self._client is not None
        url, base = httpx2.URL(request.url), self._client.base_url
        if url.is_relative_url:
            url = base.copy_with(raw_path=base.raw_path + url.raw_path.lstrip(b"/"))
        query = {**self._client.default_query, **_mapping(request.query_params)}
        given = {name: value for name, value in query.items() if not isinstance(value, Omit)}
        if not given:
            return url
        # As in the SDK, parameters replace those of the same name in the path.
        text: str = self._client.qs.stringify({**dict(url.params.items()), **given})
        return url.copy_with(query=text.encode())

    def _headers(self, request: APIRequest) -> Iterator[tuple[str, str]]:
        assert self._client is not None
        headers: dict[str, object] = {}
        for layer in (self._client.default_headers, request.headers):
            headers |= {name.lower(): value for name, value in layer.items()}
        return ((name, value) for name, value in headers.items() if isinstance(value, str))


def _client_behind(call_next: object) -> Any | None:
    """Return the client that *call_next* leads to, by the closure variables of the SDK's handlers.

    Other variables are ignored, since another middleware may hold another client.
    """
    for _ in range(_MAX_DEPTH):
        code, cells = getattr(call_next, "__code__", None), getattr(call_next, "__closure__", None)
        if code is None or cells is None:
            return None
        variables = dict(zip(code.co_freevars, cells, strict=True))
        try:
            client = variables[_CLIENT].cell_contents if _CLIENT in variables else None
            if client is not None:
                kind: object = type(client)
                return client if _is_client(kind) else None
            call_next = variables[_REST].cell_contents
        except (KeyError, ValueError):
            return None
    return None


@lru_cache(64)
def _is_client(kind: object) -> bool:
    return all(hasattr(kind, name) for name in _PROPERTIES)


def _account(client: Any) -> Sequence[str]:
    """Return what else distinguishes clients: their class, and credentials not yet in headers."""
    variables = vars(client)
    facts = [type(client).__qualname__]
    for name, is_public in _distinguishing(tuple(variables)):
        value = variables[name]
        if is_public and isinstance(value, str):
            facts += name, value
        elif value is not None and _is_secretive(name):
            facts.append(account_of(value))
    return facts


@lru_cache(64)  # clients of one class have the same variables, of which few distinguish them
def _distinguishing(names: Sequence[str]) -> Sequence[tuple[str, bool]]:
    """Return the *names* of variables that may distinguish a client, and which are public."""
    public = {name: not name.startswith("_") for name in sorted(names)}
    return [(name, public[name]) for name in public if public[name] or _is_secretive(name)]


@cache
def _is_secretive(name: str) -> bool:
    return any(part in name for part in _SECRETIVE)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _is_response(cast_to: object) -> bool:
    kind = get_origin(cast_to) or cast_to
    return isinstance(kind, type) and issubclass(kind, (APIResponse, AsyncAPIResponse))


def _content_type(kind: Any) -> object:
    """Return the type into which a *kind* of the SDK's responses is parsed."""
    for base in (kind, *getattr(kind, "__orig_bases__", ())):
        if arguments := get_args(base):
            return arguments[0]
    return object


@cache
def _reader(*, blocking: bool) -> Any:
    """Return a client that only reads answers."""
    kind = anthropic.Anthropic if blocking else anthropic.AsyncAnthropic
    return kind(api_key="unused")
