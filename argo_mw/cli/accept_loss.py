"""``argo-mw accept-loss``: go on after the shared store has lost what it counted."""

from __future__ import annotations

import click

from argo_mw.app.application import Argo, context_of
from argo_mw.cli.output import say
from argo_mw.cli.run import with_argo


@click.command("accept-loss")
@with_argo
async def accept_loss(argo: Argo) -> None:
    """Count quotas and budgets on from what the shared store still knows.

    After the store was removed, flushed or found damaged, quotas and budgets of periods that had
    begun by then count as used up until those end. This counts them from zero instead, for every
    process that shares the store: find out first what was spent, with `argo-mw costs` or at the
    vendor.
    """
    if await context_of(argo).epochs.accept():
        say("the loss is accepted: quotas and budgets count on from what the store knows now")
    else:
        say("the shared store has lost nothing")
