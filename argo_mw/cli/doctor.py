"""``argo-mw doctor``: what is installed, configured and reachable, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click
from rich.table import Column, Table

from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.app.diagnosis import TIMEOUT, broken_plugin, diagnose
from argo_mw.app.findings import Finding
from argo_mw.cli import live as live_questions
from argo_mw.cli.ending import run_to_its_end
from argo_mw.cli.live import Question
from argo_mw.cli.output import print_json, say
from argo_mw.cli.rehearsal import rehearse
from argo_mw.cli.run import ExitCode, current_settings
from argo_mw.cli.terminal import console
from argo_mw.config import Settings

LAST_TURNS = 10
"""Turns of the loop that cancelled tasks get to end."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--live",
    is_flag=True,
    help="Ask each configured upstream one question, after showing its cost.",
)
@click.option("--yes", is_flag=True, help="Agree to the cost of --live.")
def doctor(as_json: bool, live: bool, yes: bool) -> None:
    """Check what is installed, configured and reachable; exit with 1 if there is a problem.

    Made-up calls go through the chain, to find layers that fail; their answers are not kept.
    With --live, each upstream that has a key is asked its cheapest question at its real address,
    and the form of the answer is compared with what is expected.
    """
    findings = run_to_its_end(_visit(current_settings(), live=live, agreed=yes))
    if as_json:
        print_json(
            [{"where": f.where, "what": f.what, "well": f.well, "found": f.found} for f in findings]
        )
    else:
        table = Table("", "where", "what", Column("found", overflow="fold"), box=None)
        for one in findings:
            table.add_row("ok" if one.well else "!!", one.where, one.what, one.found)
        console().print(table)
    if not all(one.well for one in findings):
        sys.exit(ExitCode.FAILED)


async def _visit(settings: Settings, *, live: bool, agreed: bool) -> list[Finding]:
    """Return the findings about an application, from its start until after its end."""
    async with Argo.open(settings) as argo:
        known = len(argo.broken)
        # Before the rehearsal, which brings upstreams of its own.
        questions, not_asked = live_questions.plan(argo) if live else ((), ())
        findings = await examine(argo)
        findings += [*not_asked, *await _live(questions, agreed=agreed)]
    findings += [broken_plugin(broken) for broken in argo.broken[known:]]
    return findings + await _leaks(argo)


async def _live(questions: Sequence[Question], *, agreed: bool) -> Sequence[Finding]:
    """Return the findings about *questions*, if their cost is agreed to."""
    if not questions:
        return []
    for question in questions:
        say(str(question))
    if not agreed:
        agreed = await asyncio.to_thread(click.confirm, "Ask?", err=True)
    if not agreed:
        return [Finding("core", "live", True, "nothing was asked")]
    return await live_questions.ask(questions)


async def examine(argo: Argo) -> list[Finding]:
    """Return the findings about *argo*, the core's own first, and how it answers."""
    return await diagnose(engine_of(argo), context_of(argo)) + await _rehearsal(argo)


async def _rehearsal(argo: Argo) -> list[Finding]:
    went = await rehearse(argo, TIMEOUT)
    findings = [
        Finding(layer, "layer", False, f"{fault}; fix it, or `argo-mw flags kill {layer}`")
        for layer, fault in went.faults.items()
    ]
    well = not went.unanswered
    found = "every made-up question was answered" if well else f"not answered: {went.unanswered}"
    return [*findings, Finding("core", "rehearsal", well, found)]


async def _leaks(argo: Argo) -> list[Finding]:
    """Return the tasks that are left now that *argo* is closed, each with its owner."""
    for _ in range(LAST_TURNS):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    return [
        Finding(
            engine_of(argo).plugins.owner(_module(task)) or "core",
            "tasks",
            False,
            f"left a task behind that does not end: {_shown(task)}; start it with "
            "context.tasks.spawn(), or end it in shutdown",
        )
        for task in sorted(left, key=_shown)
    ]


def _module(task: asyncio.Task[object]) -> str:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))


def _shown(task: asyncio.Task[object]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())
