"""The rehearsal: made-up questions through the real chain, to see which layers fail.

Their answer cannot be encoded or copied, so that no layer keeps it: nothing is recorded, and
nothing is shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import get_args

from attrs import Factory, frozen
from structlog.testing import capture_logs

from argo_mw.app.access import observe
from argo_mw.app.application import Argo, engine_of
from argo_mw.base.errors import ArgoError, DeadlineExceeded, LayerUnavailable, Refusal
from argo_mw.model.call import Call
from argo_mw.model.events import Event, LayerBypassed, observes
from argo_mw.model.layer import Finds, Layer
from argo_mw.model.operation import Kind
from argo_mw.model.outcome import Outcome

SUBJECTS = 32
"""Questions of each kind: enough to meet a layer that a tenth of the calls go through."""


class Ephemeral:
    """An answer that cannot be kept."""

    def __reduce__(self) -> str:
        msg = "an answer of the rehearsal is not for keeping"
        raise TypeError(msg)


@frozen
class Rehearsal:
    """The result of a rehearsal.

    Attributes:
        faults: What is wrong with each layer that failed, by layer.
        unanswered: Why a question was not answered, or "".
    """

    faults: dict[str, str] = Factory(dict)
    unanswered: str = ""


async def rehearse(argo: Argo, timeout: float) -> Rehearsal:
    """Ask *argo*, which is open, questions of every kind, each for *timeout* seconds at most."""
    faults: dict[str, str] = {}

    @observes(LayerBypassed)
    def listen(event: Event) -> None:
        if isinstance(event, LayerBypassed):
            error = event.error
            fault = f"it fails and is bypassed: {type(error).__name__}: {error}"
            faults.setdefault(event.layer, fault)

    # Warnings of layers about made-up answers would mislead.
    with capture_logs():
        stop = observe(argo, listen)
        try:
            for kind in get_args(Kind):
                unanswered = await _rehearse(argo, kind, timeout, faults)
                if unanswered:
                    return Rehearsal(faults, unanswered)
        finally:
            stop()
    return Rehearsal(faults)


async def _rehearse(argo: Argo, kind: Kind, timeout: float, faults: dict[str, str]) -> str:
    """Ask questions of one *kind*; return why one was not answered, or ""."""
    name = f"argo.rehearsal.{kind}"
    try:
        await _ask(_question(argo, name, kind, timeout), faults)
    except DeadlineExceeded as late:
        fault = "it does not answer, and calls wait for it until their deadline"
        for layer in await _stuck(argo, name, timeout):
            faults.setdefault(layer, fault)
        return f"{type(late).__name__}: {late}"
    except ArgoError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _question(
    argo: Argo, name: str, kind: Kind, timeout: float
) -> Callable[[str], Awaitable[object]]:
    @argo.wrap(name=name, kind=kind, subject="subject", timeout=timeout)
    async def question(subject: str) -> object:
        return Ephemeral()

    return question


async def _ask(question: Callable[[str], Awaitable[object]], faults: dict[str, str]) -> None:
    for number in range(SUBJECTS):
        try:
            await question(f"REHEARSAL-{number}")
        except LayerUnavailable as error:
            faults.setdefault(error.layer, "it cannot do its work, and calls are refused")
        except Refusal:
            # A layer or a guard may say no: that is an answer too.
            continue


async def _stuck(argo: Argo, operation: str, timeout: float) -> list[str]:
    """Return the layers that do not answer even where nothing is left to wait for."""
    pipeline = engine_of(argo).pipeline
    # A subject that is new: what was not answered before may still be under way.
    call, _ = pipeline.calls.get(operation, argo.settings.argo.tenant, {"subject": "REHEARSAL"})
    bound = call.bind(pipeline.candidates[operation][0])
    places = [(layer, call) for layer in pipeline.order.outer]
    places += [(layer, bound) for layer in pipeline.order.inner]
    asked = [(layer, call) for layer, call in places if layer.serves(call.operation)]
    stuck = await asyncio.gather(*(_is_stuck(layer, call, timeout) for layer, call in asked))
    return [layer.name for (layer, _), is_stuck in zip(asked, stuck, strict=True) if is_stuck]


async def _is_stuck(layer: Layer, call: Call, timeout: float) -> bool:
    async def answer(call: Call) -> Outcome:
        return Outcome(Ephemeral())

    async def alone() -> None:
        middleware = layer.middleware
        found = middleware.find(call) if isinstance(middleware, Finds) else None
        if found is not None and not isinstance(found, Outcome):
            await found
        await middleware(call, answer)

    asking = asyncio.create_task(alone(), name=f"argo-mw:rehearsal:{layer.name}")
    _, unanswered = await asyncio.wait({asking}, timeout=timeout)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return bool(unanswered)
