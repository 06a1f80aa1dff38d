"""The rehearsal: made-up questions through the real chain, to see which layers fail.

Their answer cannot be encoded or copied, so that no layer keeps it: nothing is recorded, and
nothing is shared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import get_args

from structlog.testing import capture_logs

from argo_mw.app import Argo
from argo_mw.errors import ArgoError, Refusal
from argo_mw.events import Event, LayerBypassed, observes
from argo_mw.operation import Kind

SUBJECTS = 32
"""Questions of each kind: enough to meet a layer that a tenth of the calls go through."""


class Ephemeral:
    """An answer that nobody can keep."""

    def __reduce__(self) -> str:
        msg = "an answer of the rehearsal is not for keeping"
        raise TypeError(msg)


async def rehearse(argo: Argo, patience: float) -> tuple[dict[str, str], str]:
    """Ask *argo* questions of every kind.

    Args:
        argo: An application, open.
        patience: Seconds that one answer may take.

    Returns:
        What each layer that failed raised, by layer; and why a question was not answered, if
        one was not.
    """
    failed: dict[str, str] = {}

    @observes(LayerBypassed)
    def listen(event: Event) -> None:
        if isinstance(event, LayerBypassed):
            error = event.error
            failed.setdefault(event.layer, f"{type(error).__name__}: {error}")

    # What layers say about made-up answers concerns nobody.
    with capture_logs():
        stop = argo.observe(listen)
        try:
            for kind in get_args(Kind):
                await _ask(_question(argo, kind, patience))
        except ArgoError as error:
            return failed, f"{type(error).__name__}: {error}"
        finally:
            stop()
    return failed, ""


def _question(argo: Argo, kind: Kind, patience: float) -> Callable[[str], Awaitable[object]]:
    @argo.wrap(name=f"argo.rehearsal.{kind}", kind=kind, timeout=patience)
    async def question(symbol: str) -> object:
        return Ephemeral()

    return question


async def _ask(question: Callable[[str], Awaitable[object]]) -> None:
    for number in range(SUBJECTS):
        try:
            await question(f"REHEARSAL-{number}")
        except Refusal:
            # A layer or a guard may say no: that is an answer too.
            continue
