"""Identity: the endpoint and account of an SDK's request.

Two clients may ask one model the same and still need different answers: they ask different servers,
deployments or beta features, or pay with different keys. What distinguishes them is part of a
call's key, as a digest, so that no credential is in it.

All headers count that are not known to leave answers alone: one too many costs a request, one too
few gives a client the answer of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Final, Generic, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

import httpx2
from attrs import frozen

from argo_mw.plugin import is_of_balancer, leaves_answers_alone

_INDIFFERENT = frozenset(["accept", "accept-encoding", "content-type", "x-title"])
"""Headers that do not change a model's answer, beside those of tracing and transport."""

_MAX_URLS: Final = 16

T = TypeVar("T")

_accounts: WeakKeyDictionary[object, str] = WeakKeyDictionary()


@frozen
class Identity:
    """The endpoint and account of a request.

    Attributes:
        endpoint: Its URL, without query and credentials.
        account: A digest of its query, the headers that count, and its credential.
    """

    endpoint: str
    account: str

    def evolved(self, *facts: str) -> Identity:
        """Return the identity with *facts* added to what distinguishes it."""
        return Identity(self.endpoint, _digest((self.account, *facts)))


class Remembered(Generic[T]):
    """Remembers the identity of a client's last request to each URL, mostly that of the next too.

    Making an identity takes 25 µs, comparing what it is made of 2. Only the client itself is
    referred to, so nothing else lives longer.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, T]] = {}

    def of(self, url: str, made_of: object, make: Callable[[], T]) -> T:
        """Return the identity of a request to *url*, made by *make* if *made_of* has changed."""
        last = self._last.get(url)
        if last is None or last[0] != made_of:
            if len(self._last) >= _MAX_URLS:
                self._last.clear()
            last = self._last[url] = made_of, make()
        return last[1]


def identity_of(
    url: httpx2.URL, headers: Iterable[tuple[str, str]], facts: Iterable[str] = ()
) -> Identity:
    """Return the identity of a request to *url* with *headers*.

    Args:
        url: The whole URL.
        headers: Names and values of all headers.
        facts: What else distinguishes clients, such as a credential that no header shows.
    """
    host = url.netloc.decode("ascii", "replace")
    endpoint = f"{url.scheme}://{host}{url.path.rstrip('/')}"
    named = ((name.lower(), value) for name, value in headers)
    deciding = sorted(_deciding(one for one in named if one != ("host", host)))
    flat = (part for header in deciding for part in header)
    query, user = (part.decode("ascii", "replace") for part in (url.query, url.userinfo))
    return Identity(endpoint, _digest((query, user, *flat, "", *facts)))


def nobody_else(path: str) -> Identity:
    """Return an identity that no other request to *path* has, so that its answer is not shared."""
    return Identity(path, uuid4().hex)


def account_of(credential: object) -> str:
    """Return a name for *credential*, an object that provides keys, for as long as it exists.

    One without weak references gets another name each time, and so shares nothing.
    """
    try:
        return _accounts.setdefault(credential, uuid4().hex)
    except TypeError:
        return uuid4().hex


def _deciding(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name == "cookie":
            cookies = (cookie.strip() for cookie in value.split(";"))
            yield from ((name, one) for one in cookies if not is_of_balancer(one))
        elif name not in _INDIFFERENT and not leaves_answers_alone(name):
            yield name, value


def _digest(parts: Iterable[str]) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()
