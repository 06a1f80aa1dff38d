"""Finding out whether a value, with all that it holds, can be changed in place."""

from __future__ import annotations

import datetime as dt
import functools
import sys
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from operator import attrgetter
from pathlib import PurePath
from types import BuiltinFunctionType, MemberDescriptorType
from typing import Any, Final, NamedTuple
from uuid import UUID

import attrs
import msgspec

OVERHEAD: Final = 64
"""About how many bytes an object takes besides its content."""

ATOMS: Final = frozenset(
    {
        *(type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis)),
        *(dt.date, dt.time, dt.datetime, dt.timedelta, dt.timezone),
        *(Decimal, Fraction, UUID),
    }
)
"""The commonest immutable types, which hold nothing else."""

_SMALL: Final = OVERHEAD // 2
_MAX_DEPTH: Final = 100
_HASHES: Final = frozenset({"_attrs_cached_hash", "__msgspec_cached_hash__"})
"""The slots in which attrs and msgspec keep the hash of a frozen record."""


def is_immutable(value: object) -> bool:
    """Return whether neither *value* nor anything in it can be changed in place."""
    return type(value) in ATOMS or Survey().is_immutable(value)


class Survey:
    """A walk over a value that finds out whether it is immutable or plain, and how large.

    Attributes:
        plain: Whether all mutable parts are dicts, lists, sets and bytearrays, no subclasses, each
            met once: such a value can be rebuilt without ``copy.deepcopy``.
        size: About how many bytes were met.
    """

    __slots__ = ("_depth", "_met", "plain", "size")

    def __init__(self) -> None:
        self.plain = True
        self.size = 0
        self._depth = 0
        self._met: set[int] = set()

    def is_immutable(self, value: object) -> bool:
        """Walk over *value* and return whether it is immutable."""
        kind = type(value)
        if kind in ATOMS:
            self.size += atom_size(value)
            return True
        if self._depth > _MAX_DEPTH:
            self.plain = False
            return False
        self._depth += 1
        try:
            return self._compound(kind, value)
        finally:
            self._depth -= 1

    def _compound(self, kind: type, value: Any) -> bool:
        self.size += OVERHEAD
        if kind is tuple or kind is frozenset:
            return self._all(value)
        if kind is dict:
            return self._mutable(value, value.values(), value.keys())
        if kind is list or kind is set:
            return self._mutable(value, value)
        if kind is bytearray:
            self.size += len(value)
            return self._mutable(value, ())
        # Records first, since answers are records.
        parts = _frozen_parts(kind, value)
        if parts is not None and self._all(parts):
            return True
        if isinstance(value, (Enum, type, PurePath)) or _is_frozen_scalar(value):
            return True
        self.plain = False
        return False

    def _mutable(self, value: object, *parts: Any) -> bool:
        if id(value) in self._met:
            self.plain = False  # an alias or a cycle: only deepcopy keeps it
            return False
        self._met.add(id(value))
        for part in parts:
            self._all(part)
        return False

    def _all(self, parts: Any) -> bool:
        immutable, size = True, 0
        for part in parts:
            kind = type(part)
            if kind in ATOMS:  # written out here, because most parts are atoms
                size += len(part) + OVERHEAD if kind is str or kind is bytes else _SMALL
            elif kind is tuple and not part:
                size += OVERHEAD
            else:
                immutable &= self.is_immutable(part)
        self.size += size
        return immutable


def _frozen_parts(kind: type, value: Any) -> tuple[object, ...] | None:
    """Return the fields of a frozen record, or ``None`` when *value* is not such a record."""
    own = getattr(value, "__dict__", None)
    if issubclass(kind, tuple) and own is None:
        return tuple(value)
    fields = _frozen_fields(kind)
    if fields is None or (own and not fields.names.issuperset(own)):
        return None  # attributes besides its fields may hold anything
    return fields.of(value)


class _Fields(NamedTuple):
    """The fields of a class of frozen records, and what returns those of a record."""

    names: frozenset[str]
    of: Callable[[Any], tuple[object, ...]]


@functools.lru_cache(maxsize=1024)
def _frozen_fields(kind: type) -> _Fields | None:
    names = _declared_fields(kind)
    if names is None or not _is_nothing_else(kind, names):
        return None
    if len(names) > 1:  # an attrgetter of one name returns no tuple
        return _Fields(frozenset(names), attrgetter(*names))
    return _Fields(frozenset(names), lambda value: tuple(getattr(value, name) for name in names))


def _declared_fields(kind: type) -> tuple[str, ...] | None:
    if "__attrs_attrs__" in kind.__dict__ and _setattr_of(kind) is _FROZEN_SETATTR:
        return tuple(field.name for field in attrs.fields(kind))
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__ if kind.__struct_config__.frozen else None
    params = kind.__dict__.get("__dataclass_params__")
    if params is not None and params.frozen:
        return tuple(kind.__dict__["__dataclass_fields__"])
    return None


def _is_nothing_else(kind: type, names: tuple[str, ...]) -> bool:
    """Return whether the fields *names* are all that an instance of *kind* holds.

    It holds more if it is a list, a dict or an error as well, if a class that it extends has slots
    of its own, or if it remembers what a property computed: in a ``__dict__``, or in a slot.
    """
    known = {*names, *_HASHES}
    for base in kind.__mro__[:-1]:
        if isinstance(vars(base).get("__new__"), BuiltinFunctionType):
            return False
        for name, member in vars(base).items():
            if isinstance(member, functools.cached_property):
                return False
            if isinstance(member, MemberDescriptorType) and name not in known:
                return False
    return True


def _is_frozen_scalar(value: object) -> bool:
    """Return whether *value* is a scalar of numpy or pandas, or a time zone."""
    if isinstance(value, dt.tzinfo):
        return True
    module = type(value).__module__.partition(".")[0]
    if module == "numpy":
        return isinstance(value, sys.modules["numpy"].generic) and value.dtype.char not in "OV"
    if module == "pandas":
        pandas = sys.modules["pandas"]
        return value is pandas.NA or isinstance(
            value, (pandas.Timestamp, pandas.Timedelta, pandas.Period, type(pandas.NaT))
        )
    return False


def atom_size(value: object) -> int:
    """Return about how many bytes an atom occupies."""
    if type(value) is str or type(value) is bytes:
        return len(value) + OVERHEAD
    return _SMALL


@attrs.frozen
class _Sample:
    """A frozen class, for the ``__setattr__`` that attrs gives all of them."""


def _setattr_of(kind: type) -> object:
    return kind.__setattr__


_FROZEN_SETATTR: Final = _setattr_of(_Sample)
