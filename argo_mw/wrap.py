"""Wrapping: any async function behind the chain."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import ParamSpec, Protocol, TypeVar, cast

from argo_mw.call import Call
from argo_mw.errors import UpstreamError
from argo_mw.operation import Operation
from argo_mw.outcome import Outcome
from argo_mw.upstream import Upstream

P = ParamSpec("P")
R = TypeVar("R")


class Ask(Protocol):
    """What asks the chain: :meth:`argo_mw.Argo.call`."""

    async def __call__(self, operation: str, /, **parameters: object) -> object: ...


def wrapped(
    function: Callable[P, Awaitable[R]], declared: Operation, ask: Ask
) -> Callable[P, Awaitable[R]]:
    """*function*, called through the chain as operation *declared*.

    What it raises reaches its caller as it was raised.
    """
    parameters_of = _binder(declared)

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return cast(R, await ask(declared.name, **parameters_of(args, kwargs)))
        except UpstreamError as error:
            if error.upstream == declared.name and isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
            raise

    return call


def _binder(
    declared: Operation,
) -> Callable[[tuple[object, ...], dict[str, object]], Mapping[str, object]]:
    """Names the arguments of a call, as ``inspect.Signature.bind`` does.

    Which takes longer than the rest of a memory hit; so it is asked only about calls that are
    wrong or out of the ordinary.
    """
    parameters = declared.signature.parameters.values()
    ordinary = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    names = frozenset(ordinary) | {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    required = frozenset(p.name for p in parameters if p.default is p.empty)

    def named(args: tuple[object, ...], kwargs: dict[str, object]) -> Mapping[str, object]:
        given = dict(zip(ordinary, args, strict=False))
        if len(given) == len(args) and names.issuperset(kwargs) and given.keys().isdisjoint(kwargs):
            given.update(kwargs)
            if required.issubset(given):
                return given
        return declared.signature.bind(*args, **kwargs).arguments

    return named


def upstream_of(function: Callable[..., Awaitable[object]], declared: Operation) -> Upstream:
    """The upstream that answers operation *declared* by calling *function*."""

    async def fetch(call: Call) -> Outcome:
        return Outcome(await function(**dict(call.parameters)))

    return Upstream(declared.name, {declared.name}, fetch, timeout=declared.timeout)
