"""Clients: who sends a request, and what they may ask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final, Literal

from attrs import frozen

from argo_mw.plugin import (
    SPENDING_LIMIT,
    Argo,
    Caller,
    ConfigError,
    WebCall,
    WebRefusal,
    bearer_token,
)
from argo_mw_gateway.keys import ClientKey, Keys, looks_like_key

Admitted = Literal["keys", "own", "anyone"]
"""Which clients are let in; see :class:`~argo_mw_gateway.config.GatewayConfig`."""

OWN_HEADER: Final = "argo-mw-key"
"""The header for a key of the gateway, sent beside the client's own key of a provider."""
_CREDENTIALS: Final = ("authorization", "x-api-key", "api-key")

_NO_KEY: Final = WebRefusal(
    401,
    "send a key of this gateway, as `Authorization: Bearer KEY` or `x-api-key: KEY`; its operator "
    "makes one with `argo-mw gateway keys create NAME`",
)
_WRONG_KEY: Final = WebRefusal(401, "this key of the gateway is wrong, has expired or was revoked")
_UNREADABLE: Final = WebRefusal(503, "the gateway cannot read its clients' keys; ask its operator")


@frozen
class Client:
    """A client that was let in.

    Attributes:
        key: Its key, or ``None`` if it has none.
        passes_credential: Whether its request carries its own key of a provider, to be passed on.
    """

    key: ClientKey | None = None
    passes_credential: bool = False

    def caller(self, argo: Argo) -> Caller:
        """Return the caller of *argo* for the client's tenant and budget."""
        key = self.key
        if key is None:
            return argo
        limit = key.limit
        return argo.options(
            tenant=key.tenant or None,
            extensions=None if limit is None else {SPENDING_LIMIT: limit},
        )

    def refusal(self, call: WebCall) -> WebRefusal | None:
        """Return why the client may not ask *call*, or ``None``."""
        key = self.key
        if key is None:
            # A client that brings its own key is unknown here, so it gets nothing from our keys.
            return _NO_KEY if self.passes_credential and not call.own_account else None
        if not _fits(call.operation, key.operations):
            return WebRefusal(403, f"this key may not ask {call.operation}")
        if key.models and not (call.model or call.spending == "none"):
            return WebRefusal(403, "this key is for certain models, and the request names none")
        if call.model and not _fits(call.model, key.models):
            return WebRefusal(403, "this key may not ask this model")
        if call.unread and not key.unread:
            return WebRefusal(
                403,
                "this key may not pass on requests that the gateway does not read, since they "
                "reach what other tenants have stored; its operator may create one with "
                "--pass-through",
            )
        if key.usd is not None and call.spending == "open":
            return WebRefusal(403, "this key has a budget, and no budget counts what this costs")
        return None


class Door:
    """Lets clients in.

    Args:
        admitted: Which clients are let in.
        keys: The clients' keys.
    """

    def __init__(self, admitted: Admitted, keys: Keys) -> None:
        self._admitted = admitted
        self._keys = keys

    def client(self, headers: Mapping[str, str]) -> Client | WebRefusal:
        """Return the client that sent *headers* (names in lower case), or why it is refused."""
        presented = list(_presented(headers))
        ours = {one for one in presented if looks_like_key(one)}
        try:
            if ours:
                key = self._keys.find(ours.pop())
                if key is None or ours:  # a client is one or another
                    return _WRONG_KEY
                return Client(key, self._admitted == "own")
            self._keys.valid()  # while keys cannot be read, nothing is let in by chance
        except ConfigError:
            return _UNREADABLE
        if self._admitted == "anyone":
            return Client()
        if self._admitted == "own" and presented:
            return Client(passes_credential=True)
        return _NO_KEY


def without_credentials(
    headers: Sequence[tuple[str, str]], client: Client
) -> Sequence[tuple[str, str]]:
    """Return *headers* without the credentials by which *client* was let in."""
    return [
        (name, value)
        for name, value in headers
        if name != OWN_HEADER
        and (
            name not in _CREDENTIALS
            or (client.passes_credential and not looks_like_key(_key_in(name, value)))
        )
    ]


def _presented(headers: Mapping[str, str]) -> Iterator[str]:
    for name in (OWN_HEADER, *_CREDENTIALS):
        value = headers.get(name)
        if value:
            yield _key_in(name, value)


def _key_in(name: str, value: str) -> str:
    return (bearer_token(value) or value) if name == "authorization" else value.strip()


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(_pattern(one).match(name) for one in patterns)


@lru_cache(1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
