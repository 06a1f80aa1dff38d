"""``argo-mw accept-loss``: go on after the shared store has lost what it counted."""

from __future__ import annotations

import click

from argo_mw.app.application import Argo, context_of
from argo_mw.cli.output import say
from argo_mw.cli.run import with_argo


@click.command("accept-loss")
@with_argo
async def accept_loss(argo: Argo) -> None:
    """Accept that the shared store has lost counts, and count quotas and budgets from zero.

    After the store was removed, flushed or found damaged, the quotas and budgets of the current
    periods count as used up. This lets every process that shares the store count them from zero
    instead. Find out first what was spent, with `argo-mw costs` or from the vendor.
    """
    if await context_of(argo).epochs.accept():
        say("the loss is accepted: quotas and budgets count on from what the store knows now")
    else:
        say("the shared store has lost nothing")
