"""``argo-mw top``: what running programs do now, in a terminal."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import click

from argo_mw.app.application import Argo, context_of
from argo_mw.cli.output import echo, print_json
from argo_mw.cli.run import with_argo
from argo_mw.cli.terminal import console
from argo_mw.cli.top_view import draw
from argo_mw.counters.published import CountersOf
from argo_mw.model.snapshot import Overview

PAUSE = 2.0
"""Seconds between two looks."""


@click.command()
@click.option(
    "--of",
    type=click.Choice(["machine", "fleet"]),
    default="fleet",
    show_default=True,
    help="Of the programs on this machine, or of all that share the store.",
)
@click.option("--instance", default="", help="Of this instance only.")
@click.option("--once", is_flag=True, help="Print once and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one document per line.")
def top(of: CountersOf, instance: str, once: bool, as_json: bool) -> None:
    """Show live what running programs do: the chain, its operations, and the panels of plugins.

    Rates are over the last 15 seconds; with --once, since the programs began. Ctrl-C ends it.
    """
    with suppress(KeyboardInterrupt):
        _show(of, instance, once, as_json)


@with_argo
async def _show(argo: Argo, of: CountersOf, instance: str, once: bool, as_json: bool) -> None:
    overview = context_of(argo).overview(of, instance)
    if once and as_json:
        print_json((await overview.read()).as_data())
    elif once:
        console().print(draw(await overview.read()))
    elif as_json:
        while True:
            echo(json.dumps((await overview.read()).as_data(), default=str))
            await asyncio.sleep(PAUSE)
    else:
        await _follow(overview)


async def _follow(overview: Overview) -> None:
    """Draw it every two seconds until Ctrl-C."""
    from rich.live import Live

    out = console()
    # On a screen of its own where there is one: what was there before comes back.
    with Live(console=out, screen=out.is_terminal, auto_refresh=False) as live:
        while True:
            height = out.size.height if out.is_terminal else None
            live.update(draw(await overview.read(), height), refresh=True)
            await asyncio.sleep(PAUSE)
