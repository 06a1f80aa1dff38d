"""``argo-mw budgets``: show what is booked on budgets in this period, and lift stops."""

from __future__ import annotations

import click
from rich.table import Table

from argo_mw.cli import console, print_json, say, with_argo
from argo_mw.plugin import Argo, context_of, dollars
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.counters import NANO, OWN, PREFIX


@click.command()
@click.option("--lift", is_flag=True, help="Let stopped budgets continue.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def budgets(argo: Argo, lift: bool, as_json: bool) -> None:
    """Show what is booked and reserved of each budget, and lift stops.

    A budget is stopped after a request cost more than its upper bound: the price table is wrong, or
    the provider does not keep to the limits of a request.
    """
    shared = context_of(argo).shared
    keys = sorted(await shared.scan(PREFIX))
    stopped = [key for key in keys if key.endswith(STOPPED)]
    if lift:
        await shared.delete(stopped)
        for key in stopped:
            say(f"lifted: {_label(key.removesuffix(STOPPED))}")
        stopped = []
    rows = []
    for key in keys:
        if not key.endswith(STOPPED):
            count = await shared.get(key)
            usd = int(count or 0) / NANO
            rows.append((_label(key), usd, key + STOPPED in stopped))
    if as_json:
        print_json([{"budget": name, "usd": usd, "stopped": stop} for name, usd, stop in rows])
        return
    table = Table("budget", "USD", "", box=None, pad_edge=False)
    for name, usd, stop in rows:
        table.add_row(name, dollars(usd), "stopped" if stop else "")
    console().print(table)


def _label(key: str) -> str:
    """Return the period, tenant and model of the counter at *key*, as text."""
    length, _, rest = key.removeprefix(PREFIX).partition(":")
    if length.startswith(OWN):
        named = int(length.removeprefix(OWN))
        return f"{rest[named:].lstrip(':')}, {rest[:named]}"
    tenant, rest = rest[: int(length)], rest[int(length) + 1 :]
    model, _, span = rest.rpartition(":")
    return f"{span}, {f'tenant {tenant!r}' if tenant else 'all tenants'}, {model or 'all models'}"
