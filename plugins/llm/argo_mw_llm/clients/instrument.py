"""Puts the chain into clients that a library makes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from argo_mw import BlockingArgo
from argo_mw.plugin import Argo
from argo_mw_llm.clients.dropin import chain, transport


def instrument(
    argo: Argo | BlockingArgo,
    *,
    openai: str | None = None,
    epoch: str = "",
    tenant: str | None = None,
) -> Callable[[], None]:
    """Put the chain into every client of Anthropic's SDK that is made from now on.

    For libraries that make their client themselves and take neither a middleware nor a transport::

        end = instrument(argo)
        model = ChatAnthropic(model="claude-sonnet-5-5")

    Clients that exist stay as they are. Where a client can be given a middleware or a transport,
    give it :func:`chain` or :func:`transport` instead.

    Args:
        argo: An open application, for asynchronous clients; a :class:`~argo_mw.BlockingArgo` for
            synchronous ones. Both kinds may be instrumented, each with its own.
        openai: The provider that clients of OpenAI's SDK ask, which then get the chain too, unless
            they are given a client of httpx.
        epoch: The moment of the data in the prompts: part of their keys.
        tenant: The tenant of the calls; by default that of the upstream or wrapped function that
            uses the client, else the configured one.

    Returns:
        A function that ends it. Clients made until then keep the chain.
    """
    undo = ExitStack()
    blocking = isinstance(argo, BlockingArgo)
    _instrument_anthropic(undo, chain(argo, epoch=epoch, tenant=tenant), blocking=blocking)
    if openai is not None:
        # An unknown provider is refused here, not when a client is made.
        made = partial(transport, argo, openai, epoch=epoch, tenant=tenant)
        made()
        _instrument_openai(undo, made, blocking=blocking)
    return undo.close


def _instrument_anthropic(undo: ExitStack, middleware: object, *, blocking: bool) -> None:
    import anthropic

    def with_chain(given: Mapping[str, Any]) -> Mapping[str, Any]:
        before = given.get("middleware") or ()
        # A copy of a client has its middleware already.
        return {**given, "middleware": [*(m for m in before if m is not middleware), middleware]}

    _change(undo, anthropic.Anthropic if blocking else anthropic.AsyncAnthropic, with_chain)


def _instrument_openai(undo: ExitStack, between: Callable[[], Any], *, blocking: bool) -> None:
    import openai

    kind: Any = openai.OpenAI if blocking else openai.AsyncOpenAI
    client: Any = openai.DefaultHttpxClient if blocking else openai.DefaultAsyncHttpxClient

    def with_chain(given: Mapping[str, Any]) -> Mapping[str, Any]:
        if given.get("http_client") is not None:
            return given
        return {**given, "http_client": client(transport=between())}

    _change(undo, kind, with_chain)


def _change(
    undo: ExitStack, kind: Any, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> None:
    """Let *change* adapt the arguments with which objects of *kind* are made; return the undo."""
    original, in_use = kind.__init__, [True]

    def make(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **(change(options) if in_use else options))

    def end() -> None:
        in_use.clear()
        if kind.__init__ is make:  # nobody has changed it since
            kind.__init__ = original

    kind.__init__ = make
    undo.callback(end)
