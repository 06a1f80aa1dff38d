"""``argo-mw doctor``: what is installed, configured and reachable, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
from rich.table import Column, Table

from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.app.exposure import exposure, exposure_of_config
from argo_mw.base.errors import SharedUnavailable
from argo_mw.cli import live as live_questions
from argo_mw.cli.finding import Finding
from argo_mw.cli.live import Question
from argo_mw.cli.output import print_json, say
from argo_mw.cli.rehearsal import rehearse
from argo_mw.cli.run import ExitCode, current_settings
from argo_mw.cli.terminal import console
from argo_mw.config import Settings
from argo_mw.flags.parse import format_rule
from argo_mw.flags.sources import FLEET
from argo_mw.registry import BrokenPlugin
from argo_mw.store.epochs import LOSS

TIMEOUT = 5.0
"""Seconds that the diagnosis of a plugin may take, and an answer of the rehearsal."""

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
    """Check what is installed, configured and reachable; exit with 1 when something is not well.

    Made-up questions go through the chain, to find layers that fail; nothing of them is kept.
    With --live, each upstream that has a key is asked its cheapest question at its real address,
    and the form of the answer is compared with what is expected.
    """
    findings = asyncio.run(_visit(current_settings(), live=live, agreed=yes))
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
    findings += [_broken(broken) for broken in argo.broken[known:]]
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
    """Return the findings about *argo*, the core's own first."""
    findings = [
        _configuration(argo.settings.source),
        _state(context_of(argo).state_dir),
        *await _shared(argo),
        *await _loss(argo),
        *_fleet(argo),
    ]
    findings += [_broken(broken) for broken in argo.broken]
    findings += _switched_off(argo)
    findings += _refusing(argo)
    for name in engine_of(argo).plugins.names:
        findings.append(Finding(name, "plugin", True, engine_of(argo).plugins.origin(name)))
        findings.extend(await _plugin(argo, name))
    return findings + await _rehearsal(argo)


def _configuration(source: str) -> Finding:
    exposed = exposure_of_config(Path(source))
    return Finding("core", "configuration", not exposed, exposed or source)


def _state(path: Path) -> Finding:
    exposed = exposure(path)
    return Finding("core", "state", not exposed, exposed or str(path))


def _broken(broken: BrokenPlugin) -> Finding:
    advice = f"{broken.error}; fix it, upgrade it, or name it under block in [argo]"
    if not broken.left_out:
        advice = f"{broken.error}; it stays in use, in spite of that: fix it and restart"
    return Finding(broken.plugin, broken.stage, False, advice)


def _switched_off(argo: Argo) -> Iterable[Finding]:
    """Yield what somebody has switched off on purpose, and may have forgotten."""
    for name in engine_of(argo).plugins.blocked:
        yield Finding(name, "plugin", True, "blocked in [argo]: nothing of it is in use")
    for name, flag in engine_of(argo).pipeline.held_off.items():
        held = f"{format_rule(flag.rule)} (set by {flag.held_by})"
        revive = f"argo-mw flags revive {name}{' --fleet' * (flag.held_by == FLEET)}"
        yield Finding(name, "flag", True, f"{held}; `{revive}` switches it on again")
    for name, flag in engine_of(argo).pipeline.flags.items():
        if flag.fault:
            yield Finding(name, "flag", False, f"it is off: {flag.fault}")


def _refusing(argo: Argo) -> Iterable[Finding]:
    """Yield the layers that are left out and fail closed, so that what they serve is refused."""
    pipeline = engine_of(argo).pipeline
    for one in pipeline.contributions.values():
        for layer in one.layers if one.stands_in else ():
            served = ", ".join(o.name for o in pipeline.operations.values() if layer.serves(o))
            if pipeline.flags[layer.flag].rule.idle or not served:
                continue
            found = f"left out, and so calls are refused of {served}; fix it and restart"
            yield Finding(
                layer.name, "layer", False, f"{found}, or `argo-mw flags kill {layer.flag}`"
            )


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


async def _shared(argo: Argo) -> list[Finding]:
    """Return whether the shared store can be reached, and what it refuses, each thing tried."""
    kind = argo.settings.argo.shared.reveal().partition(":")[0]
    started = time.perf_counter()
    try:
        await context_of(argo).shared.get("argo:doctor")
    except SharedUnavailable as error:
        return [Finding("core", "shared store", False, f"{kind} cannot be reached: {error}")]
    taken = 1e3 * (time.perf_counter() - started)
    health = context_of(argo).tag_versions.health
    await health.check()
    return [
        Finding("core", "shared store", True, f"{kind} answered in {taken:.1f} ms"),
        *(Finding("core", "shared store", False, what) for what in health.troubles),
    ]


async def _loss(argo: Argo) -> list[Finding]:
    """Return that the shared store has lost what it counted, if that is not forgotten yet."""
    try:
        epoch = await context_of(argo).epochs.refresh()
    except SharedUnavailable:
        return []
    if not epoch.lost:
        return []
    began = datetime.fromtimestamp(epoch.began, UTC)
    return [Finding("core", "quotas and budgets", False, f"{began:%Y-%m-%d %H:%M} UTC: {LOSS}")]


def _fleet(argo: Argo) -> Iterable[Finding]:
    """Yield that the flags of the fleet are those last known, where they could not be read."""
    if why := context_of(argo).flags.stale:
        yield Finding("core", "flags of the fleet", False, f"those last known are in use: {why}")


async def _plugin(argo: Argo, name: str) -> list[Finding]:
    config = engine_of(argo).plugins.configured.get(name)
    waiting = engine_of(argo).plugins.call(
        name, "diagnose", config=config, context=context_of(argo)
    )
    if waiting is None:
        return []
    try:
        async with asyncio.timeout(TIMEOUT):
            answers = await cast("Awaitable[Iterable[tuple[str, bool, str]]]", waiting)
        return [Finding(name, *one) for one in answers]
    except Exception as error:
        return [Finding(name, "diagnosis", False, f"{type(error).__name__}: {error}")]
