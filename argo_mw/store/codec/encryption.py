"""Encryption of values at rest.

AES-256-GCM with a key of its own for every value, which is derived from the configured key and 16
random bytes by HMAC-SHA256: the random nonces of GCM alone would have to be counted, since two
equal ones under one key give plaintexts away. Layout: the identifier of the configured key
(4 bytes), the salt (16), the nonce (12), the encrypted content with its tag (16 more bytes).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from argo_mw.base.errors import ConfigError
from argo_mw.base.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MIN_LENGTH: Final = 32
"""The least length of a key, in characters: what `openssl rand -base64 32` prints has 44."""
_IDENTIFIER: Final = 4
_SALT: Final = 16
_NONCE: Final = 12
_START: Final = _IDENTIFIER + _SALT + _NONCE
_ADVICE: Final = "make one with `openssl rand -base64 32`"


class Undecryptable(Exception):
    """Content that none of the keys decrypts, or that has been changed."""


class EncryptionKeys:
    """The keys of values at rest: the first one encrypts, all of them decrypt.

    Args:
        keys: The newest first.

    Raises:
        ConfigError: A key is too short, or the package ``cryptography`` is missing.
    """

    def __init__(self, keys: Sequence[Secret]) -> None:
        self._cipher: type[AESGCM]
        self._cipher, self._invalid = _library()
        masters = [_master(key) for key in keys]
        self._by_identifier = {_identifier(master): master for master in masters}
        self._newest = masters[0]
        self._start = _identifier(masters[0])

    def encrypt(self, content: bytes, associated: bytes) -> bytes:
        """Return *content* encrypted, to be decrypted only with the same *associated* data."""
        drawn = os.urandom(_SALT + _NONCE)
        cipher = self._cipher(hmac.digest(self._newest, drawn[:_SALT], "sha256"))
        return self._start + drawn + cipher.encrypt(drawn[_SALT:], content, associated)

    def decrypt(self, data: bytes | memoryview, associated: bytes) -> bytes:
        """Return the content in *data*, which was encrypted with the same *associated* data.

        Raises:
            Undecryptable: It was encrypted with another key or for another place, or is damaged.
        """
        master = self._by_identifier.get(bytes(data[:_IDENTIFIER]))
        if master is None:
            msg = "its key is not among encryption_key here"
            raise Undecryptable(msg)
        salt, nonce = data[_IDENTIFIER : _START - _NONCE], bytes(data[_START - _NONCE : _START])
        try:
            cipher = self._cipher(hmac.digest(master, salt, "sha256"))
            return cipher.decrypt(nonce, bytes(data[_START:]), associated)
        except (self._invalid, ValueError):
            msg = "it was changed, or belongs to another place"
            raise Undecryptable(msg) from None

    def __repr__(self) -> str:
        return f"EncryptionKeys({len(self._by_identifier)})"


def _library() -> tuple[Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        msg = (
            "[argo] encryption_key needs the package cryptography; install it with "
            "`pip install 'argo-mw[encryption]'`, or remove the key"
        )
        raise ConfigError(msg) from None
    return AESGCM, InvalidTag


def _master(key: Secret) -> bytes:
    text = key.reveal()
    if len(text) < MIN_LENGTH:
        msg = f"[argo] encryption_key has a key of less than {MIN_LENGTH} characters; {_ADVICE}"
        raise ConfigError(msg)
    return hmac.digest(text.encode(), b"argo-mw encryption at rest 1", "sha256")


def _identifier(master: bytes) -> bytes:
    """Return a name that identifies the key *master* and reveals nothing of it."""
    return hmac.digest(master, b"identifier", "sha256")[:_IDENTIFIER]
