"""The interface of a vendor to the server: bytes in, bytes out, no sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qsl

from attrs import field, frozen

from argo_mw_sandbox.clock import ReplayClock
from argo_mw_sandbox.exchange import Exchange
from argo_mw_sandbox.quotas import Standing


@frozen
class VendorRequest:
    """A request, as a vendor sees it.

    Attributes:
        method: The HTTP method.
        path: The decoded path after the vendor's prefix.
        query: Its query parameters; of repeated ones the last.
        headers: Its headers; names are case-insensitive.
        body: Its body.
        base: The vendor's base URL as the client wrote it, for links to next pages.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    base: str = ""


@frozen
class Usage:
    """Tokens of a language model's answer."""

    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0


NO_USAGE = Usage()


@frozen
class Piece:
    """A part of a streamed body.

    Attributes:
        data: The bytes.
        wait: Share of the answer's latency to wait before them.
    """

    data: bytes
    wait: float = 0.0


@frozen
class Answer:
    """A response.

    Attributes:
        body: The body, unless there is a ``stream``.
        status: The HTTP status.
        headers: Headers besides the content's type and length.
        content_type: The body's media type.
        error: Whether it carries an error, which may come as a 200.
        usage: Tokens to count once it was sent.
        stream: The pieces of a streamed body, or ``None``.
    """

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = "application/json"
    error: bool = False
    usage: Usage = NO_USAGE
    stream: tuple[Piece, ...] | None = None

    def whole(self) -> bytes:
        """Return the whole body, streamed or not."""
        if self.stream is None:
            return self.body
        return b"".join(piece.data for piece in self.stream)


@frozen
class World:
    """The state that all vendors share.

    Attributes:
        exchange: The prices.
        clock: The replayed now.
        seed: What everything random depends on.
        paid: Whether keys have paid plans.
    """

    exchange: Exchange
    clock: ReplayClock
    seed: int
    paid: bool

    def now(self, twist: str = "") -> float:
        """Return the replayed now in seconds since the epoch; under ``stale``, weeks ago."""
        return self.clock.time() - (STALE if twist == "stale" else 0.0)


STALE = 21 * 86_400.0
MARKET_TWISTS: Mapping[str, str] = {
    "empty": "answers without any result",
    "stale": "answers as it would have done three weeks ago",
}


class Vendor(Protocol):
    """One vendor's protocol. It decides nothing about latency, faults or sockets.

    Attributes:
        name: Its path prefix and its name in counts.
        errors: Its error bodies by name, as faults name them; ``unauthorized`` is one of them.
        twists: Ways to answer well-formed but useless, by name, and what each does.
    """

    name: str
    errors: Mapping[str, Answer]
    twists: Mapping[str, str]

    def key(self, request: VendorRequest) -> str:
        """Return the API key of a request, ``""`` if there is none."""

    def is_public(self, request: VendorRequest) -> bool:
        """Return whether a request is answered without a key."""

    def symbols(self, request: VendorRequest) -> tuple[str, ...]:
        """Return the symbols (or the model) that a request names."""

    def exceeded(self, standing: Standing) -> Answer:
        """Return the answer to a request beyond a quota."""

    def headers(self, standing: Standing, now: float) -> Mapping[str, str]:
        """Return the headers about a quota; *now* is the vendor's time in seconds."""

    def answer(self, request: VendorRequest, twist: str = "") -> Answer:
        """Return the answer to a request, altered by one of ``twists`` if one is named."""


class BadRequest(Exception):
    """A request that the vendor answers with an error.

    Attributes:
        answer: That error.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def read_query(text: str) -> dict[str, str]:
    """Return query parameters; of repeated ones the last."""
    return dict(parse_qsl(text, keep_blank_values=True))


def failure(
    status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an error with a JSON body."""
    body = json.dumps(content, ensure_ascii=False).encode()
    return Answer(body, status, headers or {}, error=True)
