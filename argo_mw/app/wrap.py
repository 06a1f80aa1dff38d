"""Wrapping: any async function behind the chain."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import ParamSpec, Protocol, TypeVar, cast

from argo_mw.base.errors import ConfigError, UpstreamError
from argo_mw.base.snapshots import own_copy
from argo_mw.model.call import Call
from argo_mw.model.operation import AnyOperation
from argo_mw.model.outcome import Outcome
from argo_mw.model.upstream import Upstream

P = ParamSpec("P")
R = TypeVar("R")


class Ask(Protocol):
    """A call through the chain: :meth:`argo_mw.Argo.call`."""

    async def __call__(self, operation: str, /, **parameters: object) -> object: ...


def wrapped(
    function: Callable[P, Awaitable[R]], declared: AnyOperation, ask: Ask
) -> Callable[P, Awaitable[R]]:
    """Return *function*, called through the chain as operation *declared*.

    Its exceptions reach its caller as they were raised.
    """
    parameters_of = _binder(declared)

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            # No cast, which each hit would call.
            return await ask(declared.name, **parameters_of(args, kwargs))  # type: ignore[return-value]
        except UpstreamError as error:
            if error.upstream != declared.name or error.raised is None:
                raise
            raised = error.raised
        # Out here, so that it keeps the cause and the context that it was raised with.
        raise raised

    return call


def _binder(
    declared: AnyOperation,
) -> Callable[[tuple[object, ...], dict[str, object]], Mapping[str, object]]:
    """Return a function that names the arguments of a call, as ``inspect.Signature.bind`` does.

    ``bind`` takes longer than the rest of a memory hit, so it is used only for calls that are wrong
    or unusual.
    """
    parameters = declared.signature.parameters.values()
    ordinary = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    names = frozenset(ordinary) | {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    rests = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
    required = frozenset(p.name for p in parameters if p.default is p.empty).difference(rests)

    def named(args: tuple[object, ...], kwargs: dict[str, object]) -> Mapping[str, object]:
        given = dict(zip(ordinary, args, strict=False))
        if len(given) == len(args) and (
            not kwargs or (names.issuperset(kwargs) and given.keys().isdisjoint(kwargs))
        ):
            given.update(kwargs)
            if required.issubset(given):
                return given
        given = dict(declared.signature.bind(*args, **kwargs).arguments)
        for rest in rests:
            given |= cast("Mapping[str, object]", given.pop(rest, {}))
        return given

    return named


def check_name(
    declared: AnyOperation, function: Callable[..., object], known: Callable[..., object] | None
) -> None:
    """Check that *function* may answer *declared*.

    Args:
        declared: The operation that it will answer.
        function: The function to wrap.
        known: The function that is wrapped under that name already, or ``None``.

    Raises:
        ConfigError: The operation's name is another function's.
    """
    if known is not None and not _redefines(function, known):
        msg = (
            f"the name {declared.name!r} is taken by another function that is wrapped, which "
            "would be called instead of this one; rename this one with wrap(name=...)"
        )
        raise ConfigError(msg)


def _redefines(function: Callable[..., object], known: Callable[..., object]) -> bool:
    """Return whether *function* is *known*, or defined in its place, by a notebook cell."""
    if function is known:
        return True
    one, other = (getattr(f, "__code__", None) for f in (function, known))
    # Closures of one function share their code, and are different functions.
    return one is not other and _home(function) == _home(known)


def _home(function: Callable[..., object]) -> tuple[object, object]:
    return getattr(function, "__module__", None), getattr(function, "__qualname__", None)


def upstream_of(function: Callable[..., Awaitable[object]], declared: AnyOperation) -> Upstream:
    """Return the upstream that answers operation *declared* by calling *function*.

    Each time *function* gets arguments of its own: it may change them, and is asked again with what
    its caller gave.
    """
    shared = declared.ignore

    async def fetch(call: Call) -> Outcome:
        parameters = {
            name: value if name in shared else own_copy(value)
            for name, value in call.parameters.items()
        }
        return Outcome(await function(**parameters))

    return Upstream(declared.name, {declared.name}, fetch, timeout=declared.timeout)
