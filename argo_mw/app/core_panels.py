"""The panels of the core: upstreams, flags and troubles; and those of the plugins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, cast

from argo_mw.app.engine import Engine
from argo_mw.app.pipeline import UPSTREAM_FLAG, Pipeline
from argo_mw.base.errors import Refusal
from argo_mw.base.log import Log
from argo_mw.chain.context import Context
from argo_mw.flags import Flag
from argo_mw.flags.parse import format_rule
from argo_mw.model.guard import DryRunGuard, Guard, Request
from argo_mw.model.panel import Button, Column, Line, Panel, Shape, Tone, View

log = Log("argo_mw")

_NOT_ASKED: Final = (False, "not asked by this program")
"""What is shown of an upstream that a program does not use: its quota is not looked up."""


def panels_of(engine: Engine, context: Context) -> Sequence[Panel]:
    """Return the panels of the core, then those of the plugins in use."""
    own = (_upstreams(engine, context), _flags(engine, context), _troubles(context))
    taken = {panel.name for panel in own}
    found = list(own)
    answers = engine.plugins.collect("register_panels", context=context)
    for plugin, answer in answers.items():
        for panel in cast("Iterable[Panel]", answer):
            if panel.name in taken or panel.name.partition(".")[0] != plugin:
                log.warning(
                    "a panel is not shown: its name must be its plugin's, and unique",
                    panel=panel.name,
                    plugin=plugin,
                )
                continue
            taken.add(panel.name)
            found.append(panel)
    return found


def _upstreams(engine: Engine, context: Context) -> Panel:
    async def read() -> View:
        pipeline = engine.pipeline
        asked: set[str] = set()
        for counts in context.counters.tallies.counts():
            asked |= counts.requests_to.keys()
        lines = [
            _upstream(pipeline, name, await _words(pipeline, name) if name in asked else _NOT_ASKED)
            for name in sorted(pipeline.upstreams)
        ]
        return View(lines)

    columns = ("upstream", "answers", "flag", "what its guards say")
    return Panel("argo.upstreams", "Upstreams", columns, read)


async def _words(pipeline: Pipeline, name: str) -> tuple[bool, str]:
    """Return whether a guard of upstream *name* refuses requests now, and what all of them say."""
    bound = pipeline.upstreams[name]
    # No call: what a guard says then is about the upstream itself, such as what is left of a quota.
    request = Request(bound.upstream, ())
    said = [await _said(guard, request) for guard in bound.asked_guards]
    texts = "\n".join(text for _, text in said if text)
    return any(refuses for refuses, _ in said), texts or "nothing against it"


def _upstream(pipeline: Pipeline, name: str, words: tuple[bool, str]) -> Line:
    refused, text = words
    rule = pipeline.flags[UPSTREAM_FLAG + name].rule
    operations = pipeline.upstreams[name].upstream.operations & pipeline.operations.keys()
    cells = (name, ", ".join(sorted(operations)), format_rule(rule), text)
    return Line(cells, key=name, tone="bad" if refused else "warn" if rule.idle else "")


async def _said(guard: Guard, request: Request) -> tuple[bool, str]:
    """Return whether *guard* refuses requests now, and its words."""
    if not isinstance(guard, DryRunGuard):
        return False, ""
    try:
        return False, await guard.dry_run(request)
    except Refusal as refusal:
        return True, str(refusal)
    except Exception as error:
        log.debug("a guard cannot say how it stands", guard=guard.name, error=repr(error))
        return False, f"{guard.name} is not known now"


def _flags(engine: Engine, context: Context) -> Panel:
    fleet = not context.single_process

    def read() -> View:
        lines = [_flag_line(name, flag) for name, flag in engine.pipeline.flags.items()]
        return View(lines, text=context.flags.stale)

    async def kill(name: str) -> str:
        await context.flags.kill(name, fleet=fleet)
        return f"{name} is off"

    async def revive(name: str) -> str:
        await context.flags.revive(name, fleet=fleet)
        return f"{name} decides again"

    where = "everywhere" if fleet else "on this machine"
    return Panel(
        "argo.flags",
        "Flags",
        ("flag", "rule", "set by"),
        read,
        buttons=(
            Button(
                "kill",
                "Switch off",
                kill,
                f"Switch {{}} off {where}, and forget its answers?",
                in_journal=True,
            ),
            Button("revive", "Revive", revive, f"Let {{}} act again {where}?", in_journal=True),
        ),
        fleet=True,
    )


def _flag_line(name: str, flag: Flag) -> Line:
    rule = format_rule(flag.rule)
    cells: Sequence[Shape] = (
        name,
        f"{rule}: {flag.fault}" if flag.fault else rule,
        flag.held_by or flag.source,
    )
    tone: Tone = "bad" if flag.rule.rolled_back or flag.fault else ""
    tone = "warn" if flag.rule.killed else tone
    return Line(cells, key=name, tone=tone, buttons=("revive",) if flag.rule.held else ("kill",))


def _troubles(context: Context) -> Panel:
    def read() -> View:
        lines = [
            Line((at, trouble.where, trouble.what), tone="warn")
            for at, trouble in reversed(context.troubles)
        ]
        return View(lines)

    columns = (Column("when", "time"), "where", "what")
    return Panel("argo.troubles", "Troubles reported", columns, read)
