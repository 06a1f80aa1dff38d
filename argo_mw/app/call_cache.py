"""The call cache: repeated calls, remembered with their keys.

Making a key takes some 10 µs, and programs repeat their calls; a call with scalar arguments is
therefore looked up by its arguments first. Their types are part of that look-up, since ``1``,
``1.0`` and ``True`` compare equal and make different calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeAlias

from argo_mw.base.errors import Closed
from argo_mw.chain.compose import Chain
from argo_mw.model.call import Call, make_call
from argo_mw.model.operation import Asked, Parameters, name_of

_SCALARS = frozenset({str, int, float, bool, type(None), bytes})
_MAX_CALLS = 4096
_MAX_TEXT = 256

ChainedCall: TypeAlias = tuple[Call, Chain]


class Calls(Protocol):
    """Where callers get their calls."""

    def get(self, operation: Asked, tenant: str, parameters: Parameters) -> ChainedCall:
        """Return the call for *operation* with *parameters*, and its chain."""


def not_open() -> Closed:
    """Return the error for an application that is not open."""
    return Closed("the application is not open; use it inside `async with Argo.open(...)`")


class _NoCalls:
    """The calls of an application that is not open."""

    def get(self, operation: Asked, tenant: str, parameters: Parameters) -> ChainedCall:
        raise not_open()


NO_CALLS: Calls = _NoCalls()


class CallCache:
    """Remembers calls by what was asked, for one build of the chains."""

    __slots__ = ("_calls", "_chains", "_unknown")

    def __init__(self, chains: Mapping[str, Chain], unknown: Callable[[str], Exception]) -> None:
        self._chains = chains
        self._unknown = unknown
        self._calls: dict[tuple[object, ...], ChainedCall] = {}

    def get(self, operation: Asked, tenant: str, parameters: Parameters) -> ChainedCall:
        """Return the call for *operation* with *parameters*, and the chain that it goes through.

        Raises:
            UnknownOperation: Nothing offers the operation.
            BadParameter: A parameter is missing, unknown, refused, or has no fingerprint.
        """
        values = parameters.values()
        # Flat, since every call pays for this line: as many names as values as types.
        arguments = (operation, tenant, *parameters, *values, *map(type, values))
        try:
            known = self._calls.get(arguments)
        except TypeError:
            return self._make(operation, tenant, parameters)
        if known is not None:
            return known
        made = self._make(operation, tenant, parameters)
        if _is_short(values):
            if len(self._calls) >= _MAX_CALLS:
                self._calls.clear()
            self._calls[arguments] = made
        return made

    def _make(self, operation: Asked, tenant: str, parameters: Parameters) -> ChainedCall:
        name = name_of(operation)
        chain = self._chains.get(name)
        if chain is None:
            raise self._unknown(name)
        return make_call(chain.operation, parameters, tenant=tenant), chain


def _is_short(values: Iterable[object]) -> bool:
    """Return whether *values* are scalars that take little memory."""
    for value in values:
        if type(value) not in _SCALARS:
            return False
        if isinstance(value, str | bytes) and len(value) > _MAX_TEXT:
            return False
    return True
