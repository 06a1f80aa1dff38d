"""``argo-mw dashboard``: shows the dashboard until Ctrl-C."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import click

from argo_mw.cli import say, with_argo
from argo_mw.plugin import Argo, CountersOf, config_of, context_of
from argo_mw_dashboard.config import PORT, DashboardConfig


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), help=f"On loopback; by default {PORT}.")
@click.option(
    "--of",
    type=click.Choice(["machine", "fleet"]),
    default="fleet",
    show_default=True,
    help="Of the programs on this machine, or of all that share the store.",
)
@click.option("--open/--no-open", "opens", default=True, help="Whether to open a browser.")
def dashboard(port: int | None, of: CountersOf, opens: bool) -> None:
    """Show what running programs do now, in the browser, on this machine only.

    Programs publish it in the store that they share, while somebody watches. The page needs the
    token that is in the printed address. Ctrl-C ends it.
    """
    with suppress(KeyboardInterrupt):
        _show(port, of, opens)


@with_argo
async def _show(argo: Argo, port: int | None, of: CountersOf, opens: bool) -> None:
    # Here, so that other commands load no web server.
    from argo_mw_dashboard.serving import Dashboard, open_in_browser

    config = config_of(argo, DashboardConfig)
    wanted = port if port is not None else config.port if config.port is not None else PORT
    shown = await Dashboard.show(context_of(argo), wanted, of=of, hosts=config.hosts)
    say(f"the dashboard is at {shown.url}")
    if context_of(argo).single_process:
        say(
            "[argo] shared is memory://, so that no other program can be seen here; let it show "
            "the dashboard itself: port in [plugins.dashboard]"
        )
    try:
        if opens:
            folder = context_of(argo).state_dir
            await asyncio.to_thread(open_in_browser, shown.url, folder)
        await shown.wait()
    finally:
        await shown.aclose()
