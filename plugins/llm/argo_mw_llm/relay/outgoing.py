"""Requests to a provider, made from requests of the gateway's clients."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import httpx2
from attrs import field, frozen

from argo_mw.plugin import Secret, WebRequest
from argo_mw_llm.clients.identity import Identity, identity_of
from argo_mw_llm.providers.profiles import Profile
from argo_mw_llm.wires import MESSAGES

CREDENTIALS: Final = ("authorization", "x-api-key", "api-key")

_OURS: Final = "argo-mw-"
_NOT_PASSED_ON: Final = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-length",
        "cookie",
        "dnt",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "origin",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
    ]
)
"""Headers that are not passed on: of the connection to us, of browsers, and of proxies."""
_PREFIXES: Final = (_OURS, "sec-", "x-forwarded-")
_DECODABLE: Final = "gzip, deflate"

_TIMEOUTS: Final = {"connect": 10.0, "read": 600.0, "write": 60.0, "pool": 30.0}
"""The timeout in seconds: a model may think for minutes before its first output."""


@frozen
class Outgoing:
    """A request to a provider.

    Attributes:
        method: Its method.
        url: Its URL.
        headers: Its headers, with the credential.
        body: The client's body.
        identity: Its endpoint and account.
        key: Our key, if it is in the request, or "".
    """

    method: str
    url: httpx2.URL
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    identity: Identity
    key: str = field(default="", repr=False)

    @property
    def has_credential(self) -> bool:
        """Whether it has a credential, ours or the client's own."""
        return has_credential(self.headers)

    def request(self, body: bytes) -> httpx2.Request:
        """Return the request with *body*."""
        # As the bytes that came, since httpx2 would accept only ASCII text.
        return httpx2.Request(
            self.method,
            self.url,
            headers=[
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers
            ],
            content=body,
            extensions={"timeout": _TIMEOUTS},
        )


def outgoing(
    request: WebRequest, profile: Profile, key: str, path: str, *, unread: bool = False
) -> Outgoing:
    """Return *request* as it is sent to the provider of *profile*.

    Args:
        request: The client's request. A credential that is still in it is the client's own.
        profile: The provider.
        key: Our key for it, or "".
        path: The path, below the provider's URL.
        unread: Whether its answer is passed on as it comes, so that it must not be compressed.
    """
    headers = [
        (name, value)
        for name, value in request.headers
        if name not in _NOT_PASSED_ON and not name.startswith(_PREFIXES)
    ]
    own = has_credential(headers)
    if key and not own:
        headers.append(_credential(profile.wire is MESSAGES, key))
    headers.append(("accept-encoding", "identity" if unread else _DECODABLE))
    query = f"?{request.query}" if request.query else ""
    url = _url(f"{profile.url.rstrip('/')}{path}{query}")
    identity = identity_of(url, headers)
    return Outgoing(request.method, url, headers, request.body, identity, "" if own else key)


def has_credential(headers: Sequence[tuple[str, str]]) -> bool:
    """Return whether *headers*, with names in lower case, hold a credential for a provider."""
    return any(name in CREDENTIALS for name, _ in headers)


def path_below(profile: Profile, path: str) -> str:
    """Return the client's *path* relative to the URL of *profile*, as the SDK expects it."""
    if profile.wire is not MESSAGES and path.startswith("/v1/"):
        return path[3:]
    return path


def with_fields(content: bytes, body: Mapping[str, object], fields: Mapping[str, object]) -> bytes:
    """Return *content*, the JSON of *body*, with *fields* added and all else unchanged."""
    if not fields:
        return content
    end = content.rstrip()
    if body and end.endswith(b"}") and not any(name in body for name in fields):
        return end[:-1] + b"," + json.dumps(fields).encode()[1:]
    return json.dumps({**body, **fields}).encode()


@lru_cache(256)
def _credential(anthropic: bool, key: str) -> tuple[str, str]:
    revealed = Secret(key).reveal()  # so that it is struck out of every message
    if anthropic:
        return "x-api-key", revealed
    return "authorization", f"Bearer {revealed}"


@lru_cache(1024)
def _url(text: str) -> httpx2.URL:
    return httpx2.URL(text)
