"""Which classes of the core occur in the public signatures of an object."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator

import attrs
import msgspec

_SPECIAL = ("__init__", "__call__", "__enter__", "__aenter__", "__iter__", "__aiter__")


def classes_in_signatures(thing: object) -> set[type]:
    """Return the core's classes that a user of *thing* meets, *thing* itself aside.

    They are what its parameters, returned values, attributes and properties are typed as, in its
    public methods too where it is a class.
    """
    if isinstance(thing, type):
        found = set(_of_class(thing))
    elif inspect.isroutine(thing):
        found = set(_of_function(thing))
    elif typing.get_origin(thing) is not None:
        found = set(_of_type(thing))
    else:
        found = set(_of_type(type(thing)))
    return found - {thing}


def _of_class(cls: type) -> Iterator[type]:
    for base in inspect.getmro(cls):
        if base is not cls and not _is_ours(base):
            continue
        for hint in _hints(base).values():
            yield from _of_type(hint)
        generated = attrs.has(base) or issubclass(base, msgspec.Struct)
        for name, member in vars(base).items():
            if name.startswith("_") and name not in _SPECIAL:
                continue
            if name == "__init__" and generated:  # made of the attributes
                continue
            yield from _of_member(member)


def _of_member(member: object) -> Iterator[type]:
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    if inspect.isfunction(member):
        yield from _of_function(member)


def _of_function(function: Callable[..., object]) -> Iterator[type]:
    for hint in _hints(function).values():
        yield from _of_type(hint)


def _hints(thing: type | Callable[..., object]) -> dict[str, object]:
    """Return the resolved public annotations of *thing* itself, without those of its bases."""
    written = inspect.get_annotations(thing)
    public = {name: hint for name, hint in written.items() if not name.startswith("_")}
    module = sys.modules[thing.__module__]
    holder = types.SimpleNamespace(__annotations__=public)
    return typing.get_type_hints(holder, vars(module), dict(vars(thing)))


def _of_type(hint: object) -> Iterator[type]:
    if isinstance(hint, list | tuple):  # the parameters of a callable
        for one in hint:
            yield from _of_type(one)
    elif typing.get_origin(hint) is typing.Literal:
        return
    elif typing.get_origin(hint) is not None:
        yield from _of_type(typing.get_origin(hint))
        yield from _of_type(typing.get_args(hint))
    elif isinstance(hint, typing.TypeVar):
        yield from _of_type((hint.__bound__, *hint.__constraints__))
    elif isinstance(hint, type) and _is_ours(hint):
        yield hint


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "argo_mw"
