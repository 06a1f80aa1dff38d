"""The guard of every HTTP service: a page, an API, a metrics endpoint.

Three kinds of requests are refused: those for a host name that is not the service's own (DNS
rebinding), those that another site's page sends through the user's browser, and those without the
token where one is required.

The token travels in the ``Authorization`` header alone. A browser would send a cookie unasked, and
to every other service of the same host, whatever its port.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

from argo_mw.base.errors import ConfigError
from argo_mw.base.host_names import HostNames
from argo_mw.base.secret import Secret

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER: Final = re.compile(r"bearer +([\x21-\x7e]{1,512}) *", re.IGNORECASE)
_MIN_TOKEN: Final = 20
_MAX_TOKEN: Final = 512


@frozen
class WebRefusal:
    """Why a request is not answered.

    Attributes:
        status: The HTTP status to answer with: 401, 403 or 421.
        reason: What is wrong and what to do, in a sentence; it repeats nothing of the request.
    """

    status: int
    reason: str


_MISDIRECTED: Final = WebRefusal(
    421, "the name in the Host header is not one of this service's; add it to its `hosts`"
)
_CROSS_SITE: Final = WebRefusal(403, "a page of another site may not send this request")
_NO_TOKEN: Final = WebRefusal(401, "send the access token as `Authorization: Bearer TOKEN`")
_WRONG_TOKEN: Final = WebRefusal(401, "the access token is wrong")


@frozen
class WebGuard:
    """The rules by which a service answers or refuses a request.

    Attributes:
        token: What a request has to present.
        hosts: The names under which the service is reached.
        reads_freely: Whether requests that change nothing (GET, HEAD, OPTIONS) pass without a
            token; for services that listen on loopback only.
    """

    token: Secret
    hosts: HostNames = field(factory=HostNames)
    reads_freely: bool = field(default=False, kw_only=True)

    def refusal(self, method: str, headers: Mapping[str, str]) -> WebRefusal | None:
        """Return why the request is refused, or ``None`` where it may be answered.

        Args:
            method: The method of the request, in upper case.
            headers: Its headers by name: in lower case, or a mapping that ignores case.
        """
        if not self.hosts.includes(headers.get("host")):
            return _MISDIRECTED
        reads = method in _SAFE
        if not reads and is_cross_site(headers):
            return _CROSS_SITE
        if reads and self.reads_freely:
            return None
        return self._refusal_of_token(bearer_token(headers.get("authorization")))

    def _refusal_of_token(self, presented: str | None) -> WebRefusal | None:
        if presented is None:
            return _NO_TOKEN
        expected = self.token.reveal().encode()
        return None if hmac.compare_digest(presented.encode(), expected) else _WRONG_TOKEN


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in *authorization*, a header of the scheme Bearer (RFC 6750), if any."""
    found = None if authorization is None else _BEARER.fullmatch(authorization)
    return None if found is None else found[1]


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sent *headers*, by name in lower case, for a page of another origin.

    By the rules of Go's ``net/http.CrossOriginProtection``: ``Sec-Fetch-Site`` decides where the
    browser sends it, else ``Origin`` has to name the host asked. A request with neither comes from
    no browser of today.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        asking = urlsplit(origin).netloc.lower()
    except ValueError:
        return True
    return not asking or asking != headers.get("host", "").lower()


def load_or_create_token(path: Path) -> Secret:
    """Return the access token in the file at *path*; make one first where there is none.

    Several processes may call it at once: all get the same. It reads and writes a file, so call it
    before the event loop runs or in a thread.

    Raises:
        ConfigError: The file can be read by other users, or holds no token.
        OSError: It cannot be read or written.
    """
    if not path.exists():
        _create_token(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        _check_private(os.fstat(file.fileno()), path)
        token = file.read(_MAX_TOKEN + 2).strip()
    if not _MIN_TOKEN <= len(token) <= _MAX_TOKEN or bearer_token(f"Bearer {token}") is None:
        msg = f"{path} holds no access token: delete it, and a new one is made"
        raise ConfigError(msg)
    return Secret(token)


def _create_token(path: Path) -> None:
    """Write a new token to *path*, so that the file is complete from the moment it exists."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            # Unlike a rename, a link replaces no token that another process made meanwhile.
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()


def _check_private(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        msg = f"{path} is not an ordinary file: remove it, and an access token is made there"
        raise ConfigError(msg)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        msg = (
            f"other users may read the access token in {path}: delete the file, and a new one "
            f"is made"
        )
        raise ConfigError(msg)
