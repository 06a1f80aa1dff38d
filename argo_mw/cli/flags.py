"""``argo-mw flags``: what decides, and the switches."""

from __future__ import annotations

from typing import Final

import click

from argo_mw.cli.flag_listing import FlagListing, declared_flags, opened_flags
from argo_mw.cli.lazy_group import LazyGroup
from argo_mw.cli.output import print_json, say
from argo_mw.cli.run import begin_log, current_settings

_CHANGES: Final = {
    "kill": "argo_mw.cli.flag_changes:kill",
    "revive": "argo_mw.cli.flag_changes:revive",
    "roll-back": "argo_mw.cli.flag_changes:roll_back",
    "set": "argo_mw.cli.flag_changes:set_",
    "unset": "argo_mw.cli.flag_changes:unset",
}


@click.group(cls=LazyGroup, own=_CHANGES)
def flags() -> None:
    """List, set and kill flags.

    Settings are kept in the state directory of this machine and override argo.toml, which is never
    rewritten. With --fleet they are kept in the shared store, for all programs that share it; a
    machine's own setting and the environment override them, except for kills and rollbacks.
    """
    if click.get_current_context().invoked_subcommand in _CHANGES:
        begin_log()


@flags.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Show every flag: what it is set to, by which source, and what else is set.

    No plugin is imported, unless one does not declare its flags or the fleet has set some.
    """
    settings = current_settings()
    listing = declared_flags(settings)
    if listing is None:
        import asyncio

        begin_log()
        listing = asyncio.run(opened_flags(settings))
    if listing.stale:
        say(f"the flags of the fleet are those last known: {listing.stale}")
    if as_json:
        _print_json(listing)
    else:
        _print_table(listing)


def _print_json(listing: FlagListing) -> None:
    print_json(
        [
            {"flag": one.name, "rule": one.rule, "set by": one.source, "besides": one.besides}
            for one in listing.rows
        ]
    )


def _print_table(listing: FlagListing) -> None:
    from rich.table import Table

    from argo_mw.cli.terminal import console

    table = Table("flag", "rule", "set by", "besides", box=None)
    for one in listing.rows:
        besides = "; ".join(f"{where}: {rule}" for where, rule in one.besides.items())
        table.add_row(one.name, one.rule, one.source, besides)
    console().print(table)
