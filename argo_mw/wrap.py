"""Wrapping: any async function behind the chain."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
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
    signature = declared.signature

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        parameters = signature.bind(*args, **kwargs).arguments
        try:
            return cast(R, await ask(declared.name, **parameters))
        except UpstreamError as error:
            if error.upstream == declared.name and isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
            raise

    return call


def upstream_of(function: Callable[..., Awaitable[object]], declared: Operation) -> Upstream:
    """The upstream that answers operation *declared* by calling *function*."""

    async def fetch(call: Call) -> Outcome:
        return Outcome(await function(**dict(call.parameters)))

    return Upstream(declared.name, {declared.name}, fetch, timeout=declared.timeout)
