"""``argo-mw fleet``: be a worker, and look at those that there are."""

from __future__ import annotations

import asyncio
import socket

import click
from rich.table import Table

from argo_mw.cli import console, current_settings, print_json, say, with_argo
from argo_mw.plugin import Argo, config_of, context_of, freeze_heap
from argo_mw_fleet.config import FleetConfig
from argo_mw_fleet.errors import FleetUnavailable
from argo_mw_fleet.fleet import open_fleet
from argo_mw_fleet.reach import Reach, reach
from argo_mw_fleet.worker_process import run_worker


@click.group()
def fleet() -> None:
    """Workers that answer together, at a scheduler of Dask.

    `argo-mw signals --universe FILE --on dask://HOST:PORT` spreads its symbols over them.
    """


@fleet.command()
@click.argument("on", metavar="dask://HOST:PORT")
@click.option(
    "--name",
    help="Its name, by which symbols are placed: keep it over restarts; by default the host's.",
)
def worker(on: str, name: str | None) -> None:
    """Be a worker of the fleet at a scheduler, until SIGTERM or SIGINT.

    It answers by its own configuration, and ends when the scheduler goes: let your supervisor start
    it again.
    """
    called = name or socket.gethostname()

    def find(argo: Argo) -> tuple[Reach, FleetConfig]:
        config = config_of(argo, FleetConfig)
        return reach(on, config), config

    def greet(address: str) -> None:
        freeze_heap()
        say(f"argo-mw: worker {called} works at {address}")

    asyncio.run(run_worker(Argo.open(current_settings()), find, name=called, ready=greet))


@fleet.command()
@click.argument("on", metavar="dask://HOST:PORT")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def status(argo: Argo, on: str, as_json: bool) -> None:
    """List the workers of the fleet at a scheduler; exit code 1 when there are none."""
    async with open_fleet(argo, on) as opened:
        workers = await opened.workers()
    now = context_of(argo).clock.time()
    rows = [
        {
            "name": one.name,
            "address": one.address,
            "cpu_percent": round(one.cpu, 1),
            "memory_bytes": one.memory,
            "heard_s": round(max(0.0, now - one.seen), 1),
        }
        for one in workers.values()
    ]
    if as_json:
        print_json(rows)
    elif rows:
        table = Table("name", "address", "cpu", "memory", "heard of", box=None, pad_edge=False)
        for one in workers.values():
            memory, heard = f"{one.memory / 2**20:.0f} MiB", f"{max(0.0, now - one.seen):.0f} s ago"
            table.add_row(one.name, one.address, f"{one.cpu:.0f} %", memory, heard)
        console().print(table)
    if not rows:
        msg = f"there are no workers at {on}; start some with `argo-mw fleet worker {on}`"
        raise FleetUnavailable(msg)
