"""Checks of keys, values and times that every driver of Shared makes before it does anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from argo_mw.base.errors import BadParameter, EpochChanged
from argo_mw.store.protocol import Witness

MAX_KEY_BYTES: Final = 512
"""The greatest length of a key, in bytes of UTF-8."""

MAX_VALUE_BYTES: Final = 64 * 2**20
"""The greatest length of a value, in bytes."""

MAX_COUNT: Final = 2**53
"""The greatest amount, limit and count: every store, Lua's doubles included, keeps it exactly."""


def check_key(key: object) -> None:
    """Refuse a *key* that some driver could not keep.

    Raises:
        BadParameter: It is not text, is empty, or longer than 512 bytes in UTF-8.
    """
    if not isinstance(key, str) or not key:
        msg = f"a key of the shared store must be text that is not empty, not {key!r}"
        raise BadParameter(msg)
    if (len(key) if key.isascii() else _encoded_length(key)) > MAX_KEY_BYTES:
        msg = (
            f"a key of the shared store has at most {MAX_KEY_BYTES} bytes: "
            f"use a digest of {key[:40]!r}..."
        )
        raise BadParameter(msg)


def check_keys(keys: Iterable[object]) -> None:
    """Refuse *keys* if :func:`check_key` refuses one of them.

    Raises:
        BadParameter: One of them is refused, or *keys* is a single text.
    """
    if isinstance(keys, str):
        msg = f"several keys were expected, not the string {keys!r}"
        raise BadParameter(msg)
    for key in keys:
        check_key(key)


def check_value(key: str, value: object) -> None:
    """Refuse a *value* for *key* that some driver could not keep.

    Raises:
        BadParameter: It is not ``bytes``, or larger than 64 MiB.
    """
    if not isinstance(value, bytes):
        msg = f"the value for {key!r} must be bytes, not {type(value).__qualname__}: encode it"
        raise BadParameter(msg)
    if len(value) > MAX_VALUE_BYTES:
        msg = f"the value for {key!r} has {len(value)} bytes; {MAX_VALUE_BYTES} are the limit"
        raise BadParameter(msg)


def check_ttl(ttl: float | None) -> None:
    """Refuse a *ttl* that is not a positive number of seconds.

    Raises:
        BadParameter: It is 0, negative or not a number.
    """
    if ttl is not None and not ttl > 0:
        msg = f"a time to live must be a positive number of seconds or None, not {ttl!r}"
        raise BadParameter(msg)


def check_items(items: Mapping[str, object]) -> None:
    """Refuse *items*, values by key, if a key or a value of them is refused.

    Raises:
        BadParameter: As for :func:`check_key` and :func:`check_value`.
    """
    for key, value in items.items():
        check_key(key)
        check_value(key, value)


def check_count(what: str, number: int | None) -> None:
    """Refuse a *number*, the *what* of a counter, that some driver could not count exactly.

    Raises:
        BadParameter: It is not an integer, or beyond 2**53 either way.
    """
    if number is not None and (type(number) is not int or abs(number) > MAX_COUNT):
        msg = f"the {what} of a counter must be an integer within 2**53, not {number!r}"
        raise BadParameter(msg)


def check_epoch(expected: int, found: int | None) -> None:
    """Refuse to add to a store that is in the epoch *found*, not in the *expected* one.

    Raises:
        EpochChanged: They differ.
    """
    if found != expected:
        msg = f"the shared store is in epoch {found}, not {expected}: it has lost what it counted"
        raise EpochChanged(msg)


def check_witness(witness: Witness, found: int) -> None:
    """Refuse to add to a store whose counter for *witness* holds *found*, less than it knows.

    Raises:
        EpochChanged: It does.
    """
    if found < witness.count:
        msg = (
            f"the shared store knows of {found} additions of {witness.count}: it was put back to "
            "an older state"
        )
        raise EpochChanged(msg)


def _encoded_length(key: str) -> int:
    try:
        return len(key.encode())
    except UnicodeEncodeError:
        msg = f"a key of the shared store must be text that UTF-8 can write, not {key!r}"
        raise BadParameter(msg) from None
