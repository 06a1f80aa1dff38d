"""Keys of clients: each is shown once, and only its digest is kept.

A key is 32 random bytes, so that nobody can guess it from its digest however fast digests are made:
a plain SHA-256 is right here, and a slow hash, which passwords need, would cost each request
milliseconds. The file is private; who can change it can let in anyone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import cattrs
from attrs import asdict, evolve, field, frozen

from argo_mw.plugin import ConfigError, SpendingLimit, locked_file, replace_file
from argo_mw_gateway.config import GatewayConfig

KEYS: Final = "gateway-keys.json"
"""The file's name in the state directory."""

_SHAPE: Final = re.compile(r"argo-([0-9a-f]{12})-[A-Za-z0-9_-]{43}")
_VERSION: Final = 1
_MAX_BYTES: Final = 64 * 2**20
_UNREAD: Final = (-1,)


@frozen(kw_only=True)
class ClientKey:
    """What is kept of a client's key: everything but its secret.

    Attributes:
        id: The public part of the key, by which it is found.
        name: The name that was given to it.
        digest: The SHA-256 of the whole, in hexadecimal.
        created: When it was created, in seconds since the epoch.
        tenant: The tenant that its requests are for; "" for the configured one.
        operations: Patterns of the operations that it may ask; empty for all.
        models: Patterns of the models that it may ask; empty for all.
        usd: What its requests may cost in each period, in US dollars; ``None`` for no limit.
        per: The period.
        unread: Whether it may send requests that are passed on unread. They reach everything that
            is stored on the provider's account, of any tenant.
        expires: When it expires, in seconds since the epoch, or ``None``.
        revoked: When it was revoked, or ``None``.
    """

    id: str
    name: str
    digest: str = field(repr=False)
    created: float
    tenant: str = ""
    operations: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    usd: float | None = None
    per: Literal["day", "month", "ever"] = "month"
    unread: bool = False
    expires: float | None = None
    revoked: float | None = None

    def is_valid(self, now: float) -> bool:
        """Return whether it is valid at *now*, in seconds since the epoch."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def state(self, now: float) -> str:
        """Return ``valid``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        return "valid" if self.is_valid(now) else "expired"

    @property
    def limit(self) -> SpendingLimit | None:
        """The limit of what its requests may cost, or ``None``."""
        if self.usd is None:
            return None
        return SpendingLimit(f"the client key {self.id} ({self.name})", self.usd, self.per)


def make_key(template: ClientKey) -> tuple[str, ClientKey]:
    """Return a new key, and what is kept of it: *template* with a new id and digest."""
    identifier = secrets.token_hex(6)
    key = f"argo-{identifier}-{secrets.token_urlsafe(32)}"
    return key, evolve(template, id=identifier, digest=digest_of(key))


def digest_of(key: str) -> str:
    """Return the digest of *key*."""
    return hashlib.sha256(key.encode()).hexdigest()


def looks_like_key(text: str) -> bool:
    """Return whether *text* has the form of a key of the gateway."""
    return _SHAPE.fullmatch(text) is not None


class KeyFile:
    """The file at *path* that holds the keys, small enough to be read and written at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Mapping[str, ClientKey]:
        """Return the keys by id; none if there is no file.

        Raises:
            ConfigError: It cannot be read, or other users can change it.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return {}
        except OSError as error:
            msg = f"the keys of clients in {self.path} cannot be read: {error.strerror}"
            raise ConfigError(msg) from error
        with os.fdopen(descriptor, "rb") as file:
            self._check(os.fstat(file.fileno()))
            content = file.read(_MAX_BYTES)
        try:
            kept = json.loads(content)
            if kept["version"] != _VERSION:
                msg = f"version {kept['version']!r}"
                raise ValueError(msg)
            keys = cattrs.structure(kept["keys"], list[ClientKey])
        except (ValueError, LookupError, TypeError, RecursionError, cattrs.BaseValidationError):
            msg = f"{self.path} holds no keys of clients: put back a copy of it, or remove it"
            raise ConfigError(msg) from None
        return {key.id: key for key in keys}

    def change(self, change: Callable[[Mapping[str, ClientKey]], Sequence[ClientKey]]) -> None:
        """Replace the keys by the result of *change*, while no other process does so.

        Raises:
            ConfigError: The file cannot be read.
            OSError: It cannot be written.
        """
        with locked_file(self.path):
            keys = change(self.read())
            content = {"version": _VERSION, "keys": [asdict(key) for key in keys]}
            replace_file(self.path, content)

    def _check(self, status: os.stat_result) -> None:
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            msg = (
                f"others than you can change {self.path}, and with it who may ask: look at its "
                f"keys, then run `chown {os.geteuid()} {self.path}; chmod 600 {self.path}`"
            )
            raise ConfigError(msg)


def key_file(config: GatewayConfig, state_dir: Path) -> KeyFile:
    """Return the file that holds the keys of clients, by default one in *state_dir*."""
    return KeyFile(config.keys or state_dir / KEYS)


class Keys:
    """The keys in a :class:`KeyFile`, at most a second old.

    Args:
        file: The file.
        monotonic: Seconds of a clock that never goes back.
        time: Seconds since the epoch.
    """

    def __init__(
        self, file: KeyFile, monotonic: Callable[[], float], time: Callable[[], float]
    ) -> None:
        self._file = file
        self._monotonic = monotonic
        self._time = time
        self._look_at = float("-inf")
        self._stamp: tuple[int, ...] | None = _UNREAD
        self._keys: Mapping[str, ClientKey] = {}

    def find(self, presented: str) -> ClientKey | None:
        """Return the valid key that matches *presented*, or ``None``.

        Raises:
            ConfigError: The file cannot be read, so no key is known to be valid.
        """
        self._follow()
        found = _SHAPE.fullmatch(presented)
        if found is None:
            return None
        if found[1] not in self._keys:
            self._follow(at_once=True)  # it may have been made a moment ago
        key = self._keys.get(found[1])
        if key is None or not hmac.compare_digest(digest_of(presented), key.digest):
            return None
        return key if key.is_valid(self._time()) else None

    def valid(self) -> Sequence[ClientKey]:
        """Return the keys that are valid now.

        Raises:
            ConfigError: The file cannot be read.
        """
        self._follow()
        now = self._time()
        return [key for key in self._keys.values() if key.is_valid(now)]

    def _follow(self, *, at_once: bool = False) -> None:
        now = self._monotonic()
        if now < self._look_at and not at_once:
            return
        stamp = _stamp(self._file.path)
        if stamp != self._stamp:
            self._keys = {}  # should reading fail, none of them opens
            self._stamp = _UNREAD
            self._keys = self._file.read()
            self._stamp = stamp
        self._look_at = now + 1.0


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode, status.st_uid
