"""Requests of SDKs that no wire can account for: batches, images, fine-tuning.

Under a budget they are treated like calls whose cost has no bound: refused if the budget refuses,
else booked at an unknown cost. Requests that providers do not charge for are sent directly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from msgspec.structs import replace

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo, Clock, Closed, WebCaller, config_of, context_of
from argo_mw_llm.answers import RawResponse
from argo_mw_llm.clients.exchange import Asked, exchanged
from argo_mw_llm.config import LlmConfig
from argo_mw_llm.operations import NOT_SHARED
from argo_mw_llm.wires import is_free

R = TypeVar("R")


def is_uncounted(argo: Argo, method: str, path: str) -> bool:
    """Return whether budgets must see a request by *method* to *path*, which is of no wire."""
    return not is_free(method, path) and bool(config_of(argo, LlmConfig).budgets)


def blocking_is_uncounted(argo: BlockingArgo, method: str, path: str) -> bool:
    """Return the same as :func:`is_uncounted`, for a synchronous client."""
    if is_free(method, path):
        return False

    async def ask(inner: Argo) -> bool:
        return is_uncounted(inner, method, path)

    return argo.run(ask)


async def pass_on(
    argo: Argo, asked: Asked, send: Callable[[], Awaitable[R]], status: Callable[[R], int]
) -> R:
    """Return what *send* returns, if no budget refuses it; see :func:`passed_on`."""
    caller = argo.options(tenant=asked.tenant)
    return await passed_on(caller, context_of(argo).clock, asked, send, status)


async def passed_on(
    caller: WebCaller,
    clock: Clock,
    asked: Asked,
    send: Callable[[], Awaitable[R]],
    status: Callable[[R], int],
) -> R:
    """Return what *send* returns, if no budget refuses it; it is not shared.

    Args:
        caller: Asks the chain, for the request's tenant.
        clock: The clock.
        asked: The request, whose body is not read.
        send: Sends it.
        status: Returns the status of the response.

    Raises:
        Refusal: A guard refused the request.
        Exception: What *send* raised.
    """
    came: list[R] = []

    async def sending(_: object) -> RawResponse:
        came.append(await send())
        return RawResponse(status(came[-1]), (), b"")

    await exchanged(caller, clock, replace(asked, sample=NOT_SHARED), sending)
    return came[-1]


def check_provider(argo: Argo | BlockingArgo, provider: str) -> None:
    """Check that *argo* knows *provider*; before *argo* is open, accept any.

    Raises:
        ValueError: There is no such provider.
    """
    try:
        known = argo.run(_names) if isinstance(argo, BlockingArgo) else _providers_of(argo)
    except Closed:
        return
    if provider not in known:
        msg = f"provider is {provider!r}; it is one of {', '.join(known)}"
        raise ValueError(msg)


async def _names(argo: Argo) -> Collection[str]:
    return _providers_of(argo)


def _providers_of(argo: Argo) -> Collection[str]:
    return config_of(argo, LlmConfig).profiles
