"""``argo-mw plugins`` and ``argo-mw explain``: what is installed, and what it would do."""

from __future__ import annotations

from typing import TypedDict

import click
from rich.table import Table

from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.base.errors import BadParameter, SharedUnavailable, UnknownOperation
from argo_mw.cli.output import echo, print_json, say
from argo_mw.cli.run import with_argo
from argo_mw.cli.terminal import console
from argo_mw.counters.moved_requests import moved
from argo_mw.flags.parse import format_rule

Row = TypedDict(
    "Row",
    {"plugin": str, "from": str, "layer": str, "operations": list[str], "upstreams": list[str]},
)
"""What is shown of a plugin; ``from`` cannot be the name of a field of a class."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def plugins(argo: Argo, as_json: bool) -> None:
    """Show the chain, the operations, and where each plugin comes from."""
    pipeline = engine_of(argo).pipeline
    chain = [one.name for one in (*pipeline.order.outer, *pipeline.order.inner)]
    rows: list[Row] = [
        {
            "plugin": name,
            "from": engine_of(argo).plugins.origin(name),
            "layer": format_rule(pipeline.flags[name].rule) if one.layers else "",
            "operations": [o.name for o in one.all_operations],
            "upstreams": [u.name for u in one.upstreams],
        }
        for name, one in pipeline.contributions.items()
    ]
    blocked = engine_of(argo).plugins.blocked
    held_off = {name: format_rule(flag.rule) for name, flag in pipeline.held_off.items()}
    if as_json:
        broken = [
            {"plugin": b.plugin, "stage": b.stage, "error": b.error, "left_out": b.left_out}
            for b in argo.broken
        ]
        found = {"chain": chain, "plugins": rows, "broken": broken}
        print_json({**found, "blocked": blocked, "held_off": held_off})
        return
    table = Table("plugin", "layer", "operations", "upstreams", "from", box=None)
    for row in rows:
        operations, upstreams = ", ".join(row["operations"]), ", ".join(row["upstreams"])
        table.add_row(row["plugin"], row["layer"], operations, upstreams, row["from"])
    console().print("caller → " + "".join(f"{name} → " for name in chain) + "upstream")
    console().print(table)
    if blocked:
        console().print(f"blocked in [argo]: {', '.join(blocked)}")
    for name, rule in held_off.items():
        console().print(f"held off: {name}, {rule}")
    for one in argo.broken:
        say(f"{one.what}: {one.plugin} at {one.stage}: {one.error}")


@click.command()
@click.argument("operation")
@click.argument("subject", required=False)
@click.option(
    "-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="A further parameter, as text."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def explain(
    argo: Argo, operation: str, subject: str | None, parameter: tuple[str, ...], as_json: bool
) -> None:
    """Show what each layer would do with OPERATION on SUBJECT now, and why.

    It looks into the shared store and at quotas, budgets and circuit breakers. It asks no upstream
    and changes nothing.
    """
    parameters: dict[str, object] = dict(_pair(text) for text in parameter)
    if subject is not None:
        parameters[_subject_parameter(argo, operation)] = subject
    explained = await argo.dry_run(operation, **parameters)
    if as_json:
        print_json([{"name": e.name, "on": e.on, "flag": e.flag, "why": e.text} for e in explained])
        return
    table = Table("part", "acts", "flag", "what it would do", box=None)
    for one in explained:
        table.add_row(one.name, "yes" if one.on else "no", one.flag, one.text)
    console().print(table)
    for line in await _moves(argo, operation):
        echo(line)


async def _moves(argo: Argo, operation: str) -> list[str]:
    """Return what ramped flags move to other upstreams, as far as running programs have counted."""
    try:
        found = await context_of(argo).counters.read("fleet")
    except SharedUnavailable:
        return []
    counts = [one for i in found for one in i.counts if one.operation == operation]
    flags = sorted({flag for one in counts for flag, _ in one.arms})
    return [f"with {flag} ramped, {line}" for flag in flags for line in moved(flag, counts)]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        msg = f"{text!r} is not of the form NAME=VALUE"
        raise click.BadParameter(msg)
    return name, value


def _subject_parameter(argo: Argo, operation: str) -> str:
    known = engine_of(argo).pipeline.operations.get(operation)
    if known is None:
        argo.explain(operation)
        raise UnknownOperation(operation)
    if not known.subject:
        msg = f"{operation} is about no subject; give its parameters with -p NAME=VALUE"
        raise BadParameter(msg)
    return known.subject
