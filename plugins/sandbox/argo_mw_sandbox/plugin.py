"""The command ``argo-mw sandbox``, which is all that the plugin brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from argo_mw.cli import echo

if TYPE_CHECKING:
    from argo_mw_sandbox.faults import Fault
    from argo_mw_sandbox.server import Sandbox


@click.command()
@click.option("--port", default=8899, show_default=True, help="Loopback port; 0 takes a free one.")
@click.option("--now", help="Replayed instant, such as 2012-11-16T20:00:00Z.")
@click.option("--speed", default=1.0, show_default=True, help="Replayed seconds per second.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with your own SYMBOL.csv, .csv.gz or .parquet bars.",
)
@click.option("--align", is_flag=True, help="Re-date the files of --data to end on one day.")
@click.option("--seed", default=0, show_default=True, help="The seed of everything random.")
@click.option("--instant", is_flag=True, help="Answer at once instead of at typical latencies.")
@click.option("--free-plan", is_flag=True, help="Apply the quotas of the vendors' free plans.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="VENDOR:KIND[:SHARE]",
    help="A fault, such as alpaca:rate_limit:0.1; repeatable.",
)
def sandbox(
    port: int,
    now: str | None,
    speed: float,
    data: Path | None,
    align: bool,
    seed: int,
    instant: bool,
    free_plan: bool,
    faults: tuple[str, ...],
) -> None:
    """Serve the vendors' protocols on loopback, until interrupted.

    Give the printed base URLs to the vendors' clients; any API key that is not empty is accepted.
    Counts are at /__counts, settings at /__admin, symbols at /__symbols.
    """
    import asyncio

    from argo_mw_sandbox.clock import parse_instant
    from argo_mw_sandbox.config import SandboxConfig
    from argo_mw_sandbox.latency import TYPICAL
    from argo_mw_sandbox.quotas import FREE_PLAN
    from argo_mw_sandbox.serve import serve

    try:
        config = SandboxConfig(
            now=parse_instant(now) if now else None,
            speed=speed,
            data=data,
            align=align,
            seed=seed,
            latency={} if instant else TYPICAL,
            quotas=FREE_PLAN if free_plan else {},
            faults=read_faults(faults),
            paid=not free_plan,
            port=port,
        )
        asyncio.run(serve(config, _greet))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        msg = f"cannot listen on port {port}: {error.strerror or error}; choose another with --port"
        raise click.ClickException(msg) from error


def read_faults(texts: tuple[str, ...]) -> dict[str, tuple[Fault, ...]]:
    """Read ``VENDOR:KIND[:SHARE]``.

    Raises:
        ValueError: One is written in another way.
    """
    from argo_mw_sandbox.faults import Fault

    found: dict[str, tuple[Fault, ...]] = {}
    for text in texts:
        vendor, _, rest = text.partition(":")
        kind, _, share = rest.partition(":")
        try:
            fault = Fault(kind, share=float(share or 1))
        except ValueError:
            kind = ""
        if not kind:
            msg = f"cannot read the fault {text!r}: write VENDOR:KIND or VENDOR:KIND:SHARE"
            raise ValueError(msg)
        found[vendor] = (*found.get(vendor, ()), fault)
    return found


def _greet(running: Sandbox) -> None:
    echo(f"sandbox at {running.url()}, replaying {running.clock.now():%Y-%m-%d %H:%M:%S} UTC")
    for vendor in running.vendors:
        echo(f"  {vendor:<13} {running.url(vendor)}")
