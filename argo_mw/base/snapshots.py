"""Snapshots: values for several callers, none of whom can change another's.

:func:`snapshot` takes a value once, when it is stored; :meth:`Snapshot.copy` returns a value that
its caller may mutate. An immutable value is returned as it is; a frame or an array as a
copy-on-write or read-only view of one private copy (``array_snapshots.py``). JSON-like containers
are kept as msgpack and decoded, other plain containers are rebuilt around their immutable leaves,
and anything else is deep-copied. ``docs/decisions/snapshots.md`` has the measurements.

Known limit: ``Series.array``, ``DatetimeIndex.asi8`` and ``Index.view`` return the memory below a
frame, writable, past pandas' own copy-on-write. That is the one way to change another's data.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from argo_mw.base.array_snapshots import (
    array_snapshot,
    copied_apart,
    copies_apart,
    deep_copy,
)
from argo_mw.base.errors import NotShareable
from argo_mw.base.immutability import ATOMS, OVERHEAD, Survey, atom_size, is_immutable

_MUTABLE: Final = frozenset({dict, list})
_JSON_KEYS: Final = frozenset({str})
_JSON_LEAVES: Final = frozenset({type(None), bool, int, float, str})
_MAX_JSON_CONTAINERS: Final = 1_000_000
_DECODER: Final = msgspec.msgpack.Decoder()


class Snapshot(Protocol):
    """A value kept for several callers.

    Attributes:
        size: About how many bytes it occupies.
    """

    @property
    def size(self) -> int:
        """Return about how many bytes it occupies."""

    def copy(self) -> object:
        """Return a copy that the caller may mutate."""


def snapshot(value: object) -> Snapshot:
    """Take a snapshot of *value*, from which any number of callers get copies.

    Later changes of *value* itself show in none of them.

    Raises:
        NotShareable: The value holds something that cannot be copied: a lock, a socket, a
            generator.
    """
    if type(value) in ATOMS:
        return ImmutableSnapshot(value, atom_size(value))
    if _is_json(value) and (encoded := _encode(value)) is not None:
        return encoded
    survey = Survey()
    if survey.is_immutable(value):
        return ImmutableSnapshot(value, survey.size)
    if survey.plain:
        return RebuiltSnapshot(_rebuild(value), survey.size)
    try:
        return array_snapshot(value) or _deep_copy(value, survey.size)
    except Exception as error:
        msg = (
            f"a {type(value).__qualname__} cannot be shared between callers, because it cannot be "
            f"copied; return plain data, a frame or a frozen attrs class"
        )
        raise NotShareable(msg) from error


def copied(value: object) -> object:
    """Return a copy of *value* that shares nothing mutable with it.

    For a single copy this takes half the time of a snapshot.

    Raises:
        NotShareable: As for :func:`snapshot`.
    """
    if _is_json(value):
        with suppress(OverflowError, RecursionError, ValueError):
            return _DECODER.decode(msgspec.msgpack.encode(value))
    return snapshot(value).copy()


def own_copy(value: object) -> object:
    """Return a copy of *value*, or *value* itself where it cannot be changed or cannot be copied.

    For arguments: their owner may change them while others still need them as they were.
    """
    kind = type(value)
    if kind in ATOMS or (kind not in _MUTABLE and is_immutable(value)):
        return value
    try:
        return copied(value)
    except NotShareable:
        return value


class ImmutableSnapshot(Struct, frozen=True):
    """A value that cannot be changed, and needs no copies."""

    value: object
    size: int

    def copy(self) -> object:
        return self.value


class EncodedSnapshot(Struct, frozen=True):
    """A JSON-like value as msgpack."""

    value: bytes
    size: int

    def copy(self) -> object:
        return _DECODER.decode(self.value)


class RebuiltSnapshot(Struct, frozen=True):
    """Plain containers, copied without looking at their immutable leaves."""

    value: object
    size: int

    def copy(self) -> object:
        return _rebuild(self.value)


class DeepCopiedSnapshot(Struct, frozen=True):
    """Any other value; :func:`copy.deepcopy` keeps its classes, aliases and cycles."""

    value: object
    size: int
    apart: Sequence[Any]

    def copy(self) -> object:
        return copy.deepcopy(self.value, copies_apart(self.apart))


def _is_json(value: object) -> bool:
    """Return whether *value* is a dict or list of JSON types that msgpack returns unchanged."""
    met: set[int] = set()
    left: list[Any] = [value]
    while left:
        one = left.pop()
        kind = type(one)
        if kind is dict:
            if not _JSON_KEYS.issuperset(map(type, one)):
                return False
            items = one.values()
        elif kind is list:
            items = one
        else:
            return False
        if id(one) in met or len(met) > _MAX_JSON_CONTAINERS:
            return False
        met.add(id(one))
        if not _JSON_LEAVES.issuperset(map(type, items)):
            left += [item for item in items if type(item) not in _JSON_LEAVES]
    return True


def _encode(value: object) -> EncodedSnapshot | None:
    try:
        encoded = msgspec.msgpack.encode(value)
        _DECODER.decode(encoded)
    except (OverflowError, RecursionError, ValueError):
        return None  # an integer beyond 64 bits, half a surrogate pair, thousands of levels
    return EncodedSnapshot(encoded, len(encoded) + OVERHEAD)


def _deep_copy(value: object, size: int) -> DeepCopiedSnapshot:
    private = deep_copy(value)
    size = max(size, sys.getsizeof(value, OVERHEAD))
    return DeepCopiedSnapshot(private, size, copied_apart(private))


def _rebuild(value: Any) -> Any:
    """Copy plain containers around the same immutable leaves."""
    copier = _REBUILDERS.get(type(value))
    return value if copier is None else copier(value)


def _rebuild_dict(value: dict[object, object]) -> dict[object, object]:
    result = value.copy()
    for key, item in value.items():
        copier = _REBUILDERS.get(type(item))
        if copier is not None:
            result[key] = copier(item)
    return result


def _rebuild_list(value: list[object]) -> list[object]:
    result = value.copy()
    for at, item in enumerate(value):
        copier = _REBUILDERS.get(type(item))
        if copier is not None:
            result[at] = copier(item)
    return result


_REBUILDERS: Final[Mapping[type, Callable[[Any], object]]] = {
    dict: _rebuild_dict,
    list: _rebuild_list,
    tuple: lambda value: tuple(map(_rebuild, value)),
    set: set.copy,
    bytearray: bytearray,
}
