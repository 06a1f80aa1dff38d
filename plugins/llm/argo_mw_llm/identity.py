"""Identity: where a request of an SDK goes, and on whose account.

Two clients may ask the same of one model and still be owed different answers: they ask another
server, another deployment, other beta features, or pay with another key. What divides them is part
of the key of a call, as a digest, so that no credential is.

Whatever is not known to leave answers alone divides them: a header too many costs a request, one
too few gives a client the answer of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from uuid import uuid4
from weakref import WeakKeyDictionary

import httpx2
from attrs import frozen

_INDIFFERENT = frozenset(
    [
        "accept",
        "accept-encoding",
        "b3",
        "baggage",
        "connection",
        "content-length",
        "content-type",
        "date",
        "host",
        "http-referer",
        "idempotency-key",
        "keep-alive",
        "referer",
        "request-id",
        "sentry-trace",
        "te",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "uber-trace-id",
        "user-agent",
        "x-client-request-id",
        "x-cloud-trace-context",
        "x-title",
    ]
)
_INDIFFERENT_PREFIXES = (
    "x-amzn-trace",
    "x-b3-",
    "x-correlation-",
    "x-datadog-",
    "x-request-",
    "x-stainless-",
    "x-trace",
)
"""Headers for tracing, counting and carrying; no server answers otherwise because of them."""

_BALANCERS = ("__cf", "_cf", "cf_", "ak_bmsc", "arraffinity", "awsalb", "bigip", "bm_", "incap_")
"""What cookies of load balancers and filters of robots begin with; each answer sets new ones."""

_accounts: WeakKeyDictionary[object, str] = WeakKeyDictionary()


@frozen
class Identity:
    """Where a request goes, and on whose account.

    Attributes:
        endpoint: Its URL, without query and credentials.
        account: A digest of its query, of the headers that may decide, and of its credential.
    """

    endpoint: str
    account: str

    def evolved(self, *facts: str) -> Identity:
        """Return the identity of a request that differs in *facts* too."""
        return Identity(self.endpoint, _digest((self.account, *facts)))


def identity_of(
    url: httpx2.URL, headers: Iterable[tuple[str, str]], facts: Iterable[str] = ()
) -> Identity:
    """Return the identity of a request to *url* with *headers*.

    Args:
        url: The whole URL.
        headers: Names and values of all headers.
        facts: What else divides clients, such as a credential that a header does not show.
    """
    endpoint = f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}{url.path.rstrip('/')}"
    deciding = sorted(_deciding((name.lower(), value) for name, value in headers))
    flat = (part for header in deciding for part in header)
    query, user = (part.decode("ascii", "replace") for part in (url.query, url.userinfo))
    return Identity(endpoint, _digest((query, user, *flat, "", *facts)))


def nobody_else(path: str) -> Identity:
    """Return an identity that no other request to *path* has: its answer is for nobody else."""
    return Identity(path, uuid4().hex)


def account_of(credential: object) -> str:
    """Return a name for *credential*, an object that makes keys, while it exists.

    One that cannot be remembered gets another name each time, and so shares nothing.
    """
    try:
        return _accounts.setdefault(credential, uuid4().hex)
    except TypeError:
        return uuid4().hex


def _deciding(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if name == "cookie":
            cookies = (cookie.strip() for cookie in value.split(";"))
            yield from ((name, one) for one in cookies if not one.lower().startswith(_BALANCERS))
        elif name not in _INDIFFERENT and not name.startswith(_INDIFFERENT_PREFIXES):
            yield name, value


def _digest(parts: Iterable[str]) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return digest.hexdigest()
