"""``argo-mw doctor``: what is installed, configured and reachable, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Iterable
from typing import cast

import click
from attrs import frozen
from rich.table import Table

from argo_mw.app import Argo
from argo_mw.cli.output import console, print_json
from argo_mw.cli.run import Settled, with_argo
from argo_mw.errors import SharedUnavailable

PATIENCE = 5.0
"""Seconds that each plugin may take to look after itself."""


@frozen
class Finding:
    """What was looked at.

    Attributes:
        where: The part of the application.
        what: What was looked at.
        well: Whether it is as it should be.
        found: What was found, or what to do.
    """

    where: str
    what: str
    well: bool
    found: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def doctor(argo: Argo, as_json: bool) -> None:
    """Check what is installed, configured and reachable; exit with 1 when something is not well."""
    findings = await examine(argo)
    if as_json:
        print_json(
            [{"where": f.where, "what": f.what, "well": f.well, "found": f.found} for f in findings]
        )
    else:
        table = Table("", "where", "what", "found", box=None)
        for one in findings:
            table.add_row("ok" if one.well else "!!", one.where, one.what, one.found)
        console().print(table)
    if not all(one.well for one in findings):
        sys.exit(Settled.FAILED)


async def examine(argo: Argo) -> list[Finding]:
    """Everything there is to say about *argo*, the core's own findings first."""
    findings = [
        Finding("core", "configuration", True, argo.settings.source),
        Finding("core", "state", True, str(argo.context.state_dir)),
        await _shared(argo),
    ]
    for broken in argo.broken:
        advice = f"{broken.error}; mend it, upgrade it, or name it under block in [argo]"
        findings.append(Finding(broken.plugin, broken.stage, False, advice))
    for name in argo.plugins.names:
        findings.append(Finding(name, "plugin", True, argo.plugins.origin(name)))
        findings.extend(await _plugin(argo, name))
    return findings


async def _shared(argo: Argo) -> Finding:
    kind = argo.settings.argo.shared.partition(":")[0]
    started = time.perf_counter()
    try:
        await argo.context.shared.get("argo:doctor")
    except SharedUnavailable as error:
        return Finding("core", "shared store", False, f"{kind} cannot be reached: {error}")
    taken = 1e3 * (time.perf_counter() - started)
    return Finding("core", "shared store", True, f"{kind} answered in {taken:.1f} ms")


async def _plugin(argo: Argo, name: str) -> list[Finding]:
    config = argo.plugins.configured.get(name)
    waiting = argo.plugins.call(name, "diagnose", config=config, context=argo.context)
    if waiting is None:
        return []
    try:
        async with asyncio.timeout(PATIENCE):
            told = await cast("Awaitable[Iterable[tuple[str, bool, str]]]", waiting)
        return [Finding(name, *one) for one in told]
    except Exception as error:
        return [Finding(name, "diagnosis", False, f"{type(error).__name__}: {error}")]
