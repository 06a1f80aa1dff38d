"""Copies of errors: each of several callers that one error reaches gets an object of its own.

An exception object that is raised for several callers grows its traceback with each of them, ties
their frames together, and shows each what another has noted on it or changed in its fields.

A copy has the class of its original, without calling the class: constructors often need more than
``args`` holds. What it is made of is copied too: fields, notes, the errors of a group, and the
causes and contexts behind it. ``docs/decisions/error-copies.md`` says what is shared all the same.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections import deque
from collections.abc import Callable
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, TypeVar, cast

import msgspec

from argo_mw.base.errors import NotCopyable
from argo_mw.base.immutability import is_immutable
from argo_mw.base.snapshots import copied

E = TypeVar("E", bound=BaseException)

_MAX_OBJECTS: Final = 10_000
"""Objects in one field; a field that holds more is not data, and is shared."""

_NOT_FIELDS: Final = frozenset(
    {
        *("__dict__", "__weakref__", "__class__", "__traceback__", "args"),
        *("__cause__", "__context__", "__suppress_context__"),
    }
)
_BY_REFERENCE: Final = frozenset({(AttributeError, "obj")})
"""Fields that say where an error happened, and are not part of it."""

Descriptor = MemberDescriptorType | GetSetDescriptorType


def copy_error(error: E, *, traceback: bool = True) -> E | NotCopyable:
    """Return a copy of *error*, for one of several callers to raise.

    Args:
        error: The original, which is not raised any more once copies of it are.
        traceback: Whether copies name the frames in which the originals were raised, and so keep
            those alive; leave them out for an error that is kept for long.

    Returns:
        An error of the same class with equal fields; for the rare class of which no second object
        can be made, a :class:`~argo_mw.NotCopyable` with its name and message.
    """
    return cast("E | NotCopyable", _Copies(traceback=traceback).make(error))


class _Copies:
    """The copies that one error is made of, each made once, however it is linked."""

    def __init__(self, *, traceback: bool) -> None:
        self._traceback = traceback
        # The originals are kept too, since the id of an object that is gone may be used again.
        self._made: dict[int, tuple[BaseException, BaseException]] = {}
        self._containers: dict[int, tuple[object, object]] = {}
        self._unlinked: deque[BaseException] = deque()

    def make(self, error: BaseException) -> BaseException:
        """Return the copy of *error*, with all that is linked to it."""
        made = self._copy(error)
        while self._unlinked:
            self._link(self._unlinked.popleft())
        return made

    def _copy(self, error: BaseException) -> BaseException:
        known = self._made.get(id(error))
        if known is not None:
            return known[1]
        try:
            made = self._of_the_same_class(error)
        except Exception:
            own = _by_its_own_means(error)
            made = _stand_in(error) if own is None else own
        self._made[id(error)] = error, made
        self._unlinked.append(error)
        return made

    def _of_the_same_class(self, error: BaseException) -> BaseException:
        kind = type(error)
        made: BaseException
        if isinstance(error, BaseExceptionGroup):
            parts = [self._copy(part) for part in error.exceptions]
            group: Any = BaseExceptionGroup
            made = group.__new__(kind, error.message, parts)
        else:
            made = _constructor(kind)(kind)
        self._made[id(error)] = error, made  # a field may lead back to it
        _set(made, "args", tuple([self._field(one) for one in error.args]))
        for owner, name, descriptor in _fields(
            cast("Any", kind)
        ):  # mypy doubts that it is hashable
            self._transfer(error, made, owner, name, descriptor)
        own = getattr(error, "__dict__", None)
        if own:
            made.__dict__.update({name: self._field(one) for name, one in own.items()})
        return made

    def _transfer(
        self,
        error: BaseException,
        made: BaseException,
        owner: type,
        name: str,
        descriptor: Descriptor,
    ) -> None:
        try:
            value = descriptor.__get__(error, type(error))
        except AttributeError:
            return  # a slot without a value
        try:
            if descriptor.__get__(made, type(made)) is value:
                return  # a member that is not set reads as None, and must not become None
        except AttributeError:
            pass
        shared = (owner, name) in _BY_REFERENCE
        try:
            descriptor.__set__(made, value if shared else self._field(value))
        except (AttributeError, TypeError):
            return  # read-only: it follows from the rest

    def _link(self, error: BaseException) -> None:
        _, made = self._made[id(error)]
        if error.__cause__ is not None:
            _set(made, "__cause__", self._copy(error.__cause__))
        if error.__context__ is not None:
            _set(made, "__context__", self._copy(error.__context__))
        _set(made, "__suppress_context__", error.__suppress_context__)
        if self._traceback:
            _set(made, "__traceback__", error.__traceback__)

    def _field(self, value: object) -> object:
        """Return *value* for the field of a copy: data is copied, resources are shared."""
        if is_immutable(value):
            return value
        if isinstance(value, BaseException):
            return self._copy(value)
        known = self._containers.get(id(value))
        if known is not None:
            return known[1]
        match value:
            case dict() if type(value) is dict:
                table: dict[object, object] = {}
                self._containers[id(value)] = value, table
                table.update((key, self._field(one)) for key, one in value.items())
                return table
            case list() if type(value) is list:
                items: list[object] = []
                self._containers[id(value)] = value, items
                items.extend(self._field(one) for one in value)
                return items
            case tuple() if type(value) is tuple:
                return tuple([self._field(one) for one in value])
        return _copy_data(value)


def _set(error: BaseException, name: str, value: object) -> None:
    """Set a field that every error has, even if its class forbids setting attributes."""
    vars(BaseException)[name].__set__(error, value)


def _constructor(kind: type[BaseException]) -> Callable[[type[BaseException]], BaseException]:
    """Return what makes an empty *kind*: the constructor of the builtin class that it extends."""
    base: Any = kind
    while base.__module__ != "builtins":
        base = base.__base__
    return cast("Callable[[type[BaseException]], BaseException]", base.__new__)


@functools.lru_cache(maxsize=1024)
def _fields(kind: type[object]) -> tuple[tuple[type, str, Descriptor], ...]:
    """Return the fields that no ``__dict__`` holds: slots, and members of classes written in C."""
    return tuple(
        (owner, name, member)
        for owner in kind.__mro__
        for name, member in vars(owner).items()
        if name not in _NOT_FIELDS and isinstance(member, Descriptor)
    )


def _by_its_own_means(error: BaseException) -> BaseException | None:
    """Return what ``copy.copy`` makes of *error*, if that is a second error of its class."""
    try:
        made: object = copy.copy(error)
    except Exception:
        return None
    return made if type(made) is type(error) and made is not error else None


def _stand_in(error: BaseException) -> NotCopyable:
    kind = type(error)
    try:
        text = str(error)
    except Exception as failure:
        text = f"its message cannot be read: {type(failure).__name__}"
    name = f"{kind.__module__}.{kind.__qualname__}"
    msg = f"{name}: {text} (this stands for it: several callers got it, and it cannot be copied)"
    return NotCopyable(msg, original=name)


def _copy_data(value: object) -> object:
    """Return a copy of *value* if it is data, else *value*: a lock, a response, a connection."""
    kind = type(value)
    try:
        if kind.__module__.partition(".")[0] == "pandas" and "pandas" in sys.modules:
            return copied(value)
        return copy.deepcopy(value, _BoundedMemo()) if _is_data(kind) else value
    except Exception:
        return value


def _is_data(kind: type) -> bool:
    """Return whether the attributes of an object of *kind* are all that there is to it.

    A class with a finalizer or with pickling of its own holds more, such as a connection or the
    stream of a response.
    """
    if hasattr(kind, "__del__"):
        return False
    if hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__"):
        return True
    if hasattr(kind, "__deepcopy__") or issubclass(kind, (msgspec.Struct, *_COLLECTIONS)):
        return True
    return (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and getattr(kind, "__getstate__", None) is getattr(object, "__getstate__", None)
    )


_COLLECTIONS: Final = (dict, list, tuple, set, frozenset, bytearray, deque)


class _BoundedMemo(dict[int, object]):
    """The memo of a deep copy, which gives up when that grows large."""

    def __setitem__(self, key: int, value: object) -> None:
        if len(self) >= _MAX_OBJECTS:
            msg = "it is too large for the field of an error"
            raise ValueError(msg)
        super().__setitem__(key, value)
