"""What operation a wrapped function answers, read from the function."""

from __future__ import annotations

import functools
import inspect
import os
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, ParamSpec, TypedDict, TypeVar, Unpack, get_args, get_type_hints

from argo_mw.base.errors import BadParameter, ConfigError
from argo_mw.model.operation import (
    Accept,
    KeyOf,
    Kind,
    Operation,
    Parameters,
    Scope,
    ignored_names,
    operation,
)

P = ParamSpec("P")
R = TypeVar("R")

SELF: Final = "self"
"""The first parameter of a method."""


class Declared(TypedDict, total=False):
    """The declaration of a wrapped function's operation, as it was given."""

    kind: Kind
    data_type: str
    scope: Scope | None
    subject: str
    timeout: float
    ttl: float | str | None
    grace: float | str | None


class Wrapping(Declared, total=False):
    """What :meth:`argo_mw.Argo.wrap` takes."""

    name: str | None
    accept: Accept | None
    ignore: Iterable[str]
    key: Callable[..., object] | None


def declared_by(
    function: Callable[P, Awaitable[R]],
    *,
    name: str | None,
    accept: Accept | None,
    ignore: Iterable[str],
    key: Callable[..., object] | None,
    **more: Unpack[Declared],
) -> Operation[P, Awaitable[R]]:
    """Return the operation that *function* answers.

    Raises:
        ConfigError: It is not async, or a parameter of it has no name.
    """
    _check_function(function)
    own = name or _name_of(function)
    _check_parameters(function, own)
    _check_async(function, own)
    key_of = None if key is None else _by_names(key)
    ignored = ignored_names(ignore)
    if next(iter(inspect.signature(function).parameters), "") == SELF:
        ignored, key_of = ignored | {SELF}, _of_instance(own, ignored, key_of)
    return operation(
        name=own,
        accept=accept or _accept_of(function),
        ignore=ignored,
        key=key_of,
        **more,
    )(function)


def _name_of(function: Callable[..., object]) -> str:
    try:
        return f"{function.__module__}.{function.__qualname__}"
    except AttributeError:
        msg = f"{function!r} has no name of its own; give it one with wrap(name=...)"
        raise ConfigError(msg) from None


def _check_function(function: object) -> None:
    if isinstance(function, classmethod):
        msg = (
            f"{function.__func__.__qualname__} cannot be wrapped: it is a classmethod; write "
            "@classmethod above the wrapper, and a key= in which a text stands for the class"
        )
        raise ConfigError(msg)


def _check_parameters(function: Callable[..., object], name: str) -> None:
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            msg = (
                f"{name}{signature} cannot be wrapped: {parameter.name!r} is not "
                "passed by name, and the names of arguments are part of an answer's key"
            )
            raise ConfigError(msg)


def _check_async(function: Callable[..., object], name: str) -> None:
    inner: object = function
    while inner is not None:
        one = inner.func if isinstance(inner, functools.partial) else inner
        if inspect.iscoroutinefunction(one) or inspect.iscoroutinefunction(
            getattr(one, "__call__", None)  # noqa: B004 - of an object that is called
        ):
            return
        inner = getattr(inner, "__wrapped__", None)
    if inspect.isasyncgenfunction(function):
        msg = f"{name} cannot be wrapped: it yields; return the whole answer, or a Stream"
    else:
        msg = (
            f"{name} cannot be wrapped: it is not async; write `async def`, and run what blocks "
            "by `await asyncio.to_thread(...)`"
        )
    raise ConfigError(msg)


def _accept_of(function: Callable[..., object]) -> Accept:
    """Return what accepts the answers of *function*: ``None`` too where it says so."""
    try:
        answer = get_type_hints(function).get("return", object)
    except Exception:  # a name in an annotation that is not defined here
        return _accept_something
    may_be_none = answer is type(None) or type(None) in get_args(answer)
    return accept_everything if may_be_none else _accept_something


def accept_everything(value: object) -> str | None:
    """Accept every value, ``None`` too."""
    return None


def _accept_something(value: object) -> str | None:
    if value is not None:
        return None
    return "it returned None; where that is an answer, annotate it as `... | None`, or give accept="


def _by_names(key: Callable[..., object]) -> KeyOf:
    return lambda parameters: key(**parameters)


def _of_instance(name: str, ignored: frozenset[str], key: KeyOf | None) -> KeyOf:
    """Return what stands for the parameters of a method: its instance is one of them.

    Each instance has answers of its own, in this process only.
    """
    instances = _Instances(name)

    def key_of(parameters: Parameters) -> object:
        rest = {n: v for n, v in parameters.items() if n != SELF}
        decide = key(rest) if key is not None else {n: rest[n] for n in rest.keys() - ignored}
        return instances.token(parameters[SELF]), decide

    return key_of


class _Instances:
    """Tells instances apart for as long as they live, whether they are equal or not."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tokens: dict[int, tuple[weakref.ref[object], str]] = {}

    def token(self, instance: object) -> str:
        place = id(instance)
        known = self._tokens.get(place)
        if known is None:
            known = self._tokens[place] = self._made(instance, place)
        return known[1]

    def _made(self, instance: object, place: int) -> tuple[weakref.ref[object], str]:
        tokens = self._tokens
        try:
            reference = weakref.ref(instance, lambda _: tokens.pop(place, None))
        except TypeError:
            msg = (
                f"{self._name} is a method of {type(instance).__name__}, whose instances cannot be "
                "told apart; give the class the slot __weakref__, or wrap a function"
            )
            raise BadParameter(msg) from None
        return reference, os.urandom(16).hex()
