"""Answers: responses as they came over the wire, in the form in which they are kept for others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from attrs import evolve, field, frozen

from argo_mw.plugin import is_of_balancer

Headers = Sequence[tuple[str, str]]

HOP_BY_HOP: Final = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Headers that speak of one connection (RFC 9110)."""
_OF_ONE_MOMENT: Final = ("ratelimit", "x-ratelimit", "x-rate-limit")
"""Prefixes of headers that say how often the service may still be asked."""
_OF_ONE_CALLER: Final = frozenset(["set-cookie", "set-cookie2"])
_OF_THE_BODY: Final = frozenset(
    ["content-encoding", "content-length", "content-range", "content-type"]
)
_IN_THE_KEY: Final = "accept-encoding"
_ERRORS: Final = 400


@frozen
class HttpAnswer:
    """A response as it came over the wire, read whole.

    Attributes:
        status: The HTTP status.
        headers: Names and values: those that hold for everyone who is served it.
        body: The body, compressed as it came.
        version: The protocol's version.
        reason: The status line's reason phrase.
        varied: The names of the headers by which the answer varies, with digests of the request's
            values.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    version: str = "HTTP/1.1"
    reason: str = ""
    varied: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        """Return the value of the header *name*, given in lower case; ``None`` without one."""
        values = values_of(self.headers, name)
        return ", ".join(values) if values else None

    def suits(self, headers: Headers) -> bool:
        """Return whether it answers a request with *headers* too, by its Vary."""
        return all(digest == _said(headers, name) for name, digest in self.varied)

    @property
    def validators(self) -> tuple[tuple[str, str], ...]:
        """The headers that ask whether it still holds."""
        asked = (("etag", "if-none-match"), ("last-modified", "if-modified-since"))
        found = ((condition, self.header(name)) for name, condition in asked)
        return tuple((condition, value) for condition, value in found if value)

    def confirmed(self, by: HttpAnswer) -> HttpAnswer:
        """Return this answer, updated with the response *by*, which confirms it."""
        newer = tuple(one for one in by.headers if one[0].lower() not in _OF_THE_BODY)
        names = {name.lower() for name, _ in newer}
        kept = (one for one in self.headers if one[0].lower() not in names)
        return evolve(self, headers=(*kept, *newer))

    def is_confirmed_by(self, other: HttpAnswer) -> bool:
        """Return whether *other*, a response with status 304, is about this answer."""
        mine, theirs = self.header("etag"), other.header("etag")
        return not (mine and theirs) or _weak(mine) == _weak(theirs)


@frozen
class NotShared:
    """Stands for a response that only the caller of its request gets.

    Attributes:
        why: Why, in a few words.
        status: Its status.
    """

    why: str
    status: int = 0


def answer_of(
    status: int, headers: Headers, body: bytes, asked: Headers, *, version: str, reason: str
) -> HttpAnswer:
    """Return the answer to a request with the headers *asked*."""
    nominated = {one.strip().lower() for one in _listed(headers, "connection")}
    dropped = HOP_BY_HOP | _OF_ONE_CALLER | nominated
    kept = tuple(
        (name, value)
        for name, value in headers
        if name.lower() not in dropped
        and (status >= _ERRORS or not name.lower().startswith(_OF_ONE_MOMENT))
    )
    names = sorted({one.strip().lower() for one in _listed(headers, "vary")} - {_IN_THE_KEY, ""})
    varied = tuple((name, _said(asked, name)) for name in names)
    return HttpAnswer(status, kept, body, version, reason, varied)


def why_private(headers: Headers) -> str | None:
    """Return why a response with *headers* is for the caller of its request alone, or ``None``."""
    cookies = values_of(headers, "set-cookie")
    if any(not is_of_balancer(one) for one in cookies):
        return "it sets a cookie"
    if any(one.strip() == "*" for one in _listed(headers, "vary")):
        return "it varies by what no request shows"
    return None


def values_of(headers: Headers, name: str) -> Sequence[str]:
    """Return the values of the header *name*, given in lower case."""
    return [value for own, value in headers if own.lower() == name]


def digest_of(parts: Iterable[str | bytes]) -> str:
    """Return a digest of *parts*, from which none of them can be read."""
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def by_name(headers: Headers) -> Mapping[str, str]:
    """Return *headers* by their names in lower case, several of one name in one."""
    found: dict[str, str] = {}
    for name, value in headers:
        own = name.lower()
        found[own] = f"{found[own]}, {value}" if own in found else value
    return found


def _said(headers: Headers, name: str) -> str:
    return digest_of(one.strip() for one in values_of(headers, name))


def _listed(headers: Headers, name: str) -> Iterable[str]:
    return (one for value in values_of(headers, name) for one in value.split(","))


def _weak(etag: str) -> str:
    return etag.strip().removeprefix("W/")
