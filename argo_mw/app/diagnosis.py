"""What is installed, configured and reachable, and what is not well about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from argo_mw.app.engine import Engine
from argo_mw.app.exposure import exposure, exposure_of_config
from argo_mw.app.findings import Finding
from argo_mw.base.errors import SharedUnavailable
from argo_mw.chain.context import Context
from argo_mw.flags.parse import format_rule
from argo_mw.flags.sources import FLEET
from argo_mw.registry import BrokenPlugin
from argo_mw.store.epochs import LOSS

TIMEOUT = 5.0
"""Seconds that the diagnosis of a plugin may take."""


async def diagnose(engine: Engine, context: Context) -> list[Finding]:
    """Return the findings about an application, the core's own first, then those of plugins."""
    findings = [
        _configuration(engine.pipeline.settings.source),
        _state(context.state_dir),
        *await _shared(engine, context),
        *await _loss(context),
        *_fleet(context),
    ]
    findings += [broken_plugin(broken) for broken in engine.plugins.broken]
    findings += _switched_off(engine)
    findings += _refusing(engine)
    for name in engine.plugins.names:
        findings.append(Finding(name, "plugin", True, engine.plugins.origin(name)))
        findings.extend(await _plugin(engine, context, name))
    return findings


def _configuration(source: str) -> Finding:
    exposed = exposure_of_config(Path(source))
    return Finding("core", "configuration", not exposed, exposed or source)


def _state(path: Path) -> Finding:
    exposed = exposure(path)
    return Finding("core", "state", not exposed, exposed or str(path))


def broken_plugin(broken: BrokenPlugin) -> Finding:
    """Return what is to be said about a *broken* plugin."""
    advice = f"{broken.error}; fix it, upgrade it, or name it under block in [argo]"
    if not broken.left_out:
        advice = f"{broken.error}; it stays in use, in spite of that: fix it and restart"
    return Finding(broken.plugin, broken.stage, False, advice)


def _switched_off(engine: Engine) -> Iterable[Finding]:
    """Yield what somebody has switched off on purpose, and may have forgotten."""
    for name in engine.plugins.blocked:
        yield Finding(name, "plugin", True, "blocked in [argo]: nothing of it is in use")
    for name, flag in engine.pipeline.held_off.items():
        held = f"{format_rule(flag.rule)} (set by {flag.held_by})"
        revive = f"argo-mw flags revive {name}{' --fleet' * (flag.held_by == FLEET)}"
        yield Finding(name, "flag", True, f"{held}; `{revive}` switches it on again")
    for name, flag in engine.pipeline.flags.items():
        if flag.fault:
            yield Finding(name, "flag", False, f"it is off: {flag.fault}")


def _refusing(engine: Engine) -> Iterable[Finding]:
    """Yield the layers that are left out and fail closed, so that what they serve is refused."""
    pipeline = engine.pipeline
    for one in pipeline.contributions.values():
        for layer in one.layers if one.stands_in else ():
            served = ", ".join(o.name for o in pipeline.operations.values() if layer.serves(o))
            if pipeline.flags[layer.flag].rule.idle or not served:
                continue
            found = f"left out, so calls of {served} are refused; fix it and restart"
            yield Finding(
                layer.name, "layer", False, f"{found}, or `argo-mw flags kill {layer.flag}`"
            )


async def _shared(engine: Engine, context: Context) -> list[Finding]:
    """Return whether the shared store can be reached, and what it refuses, each thing tried."""
    kind = engine.pipeline.settings.argo.shared.reveal().partition(":")[0]
    started = time.perf_counter()
    try:
        await context.shared.get("argo:doctor")
    except SharedUnavailable as error:
        return [Finding("core", "shared store", False, f"{kind} cannot be reached: {error}")]
    taken = 1e3 * (time.perf_counter() - started)
    health = context.tag_versions.health
    await health.check()
    return [
        Finding("core", "shared store", True, f"{kind} answered in {taken:.1f} ms"),
        *(Finding("core", "shared store", False, what) for what in health.troubles),
    ]


async def _loss(context: Context) -> list[Finding]:
    """Return that the shared store has lost what it counted, if that is not forgotten yet."""
    try:
        epoch = await context.epochs.refresh()
    except SharedUnavailable:
        return []
    if not epoch.lost:
        return []
    began = datetime.fromtimestamp(epoch.began, UTC)
    return [Finding("core", "quotas and budgets", False, f"{began:%Y-%m-%d %H:%M} UTC: {LOSS}")]


def _fleet(context: Context) -> Iterable[Finding]:
    """Yield that the flags of the fleet are those last known, where they could not be read."""
    if why := context.flags.stale:
        yield Finding("core", "flags of the fleet", False, f"those last known are in use: {why}")


async def _plugin(engine: Engine, context: Context, name: str) -> list[Finding]:
    config = engine.plugins.configured.get(name)
    waiting = engine.plugins.call(name, "diagnose", config=config, context=context)
    if waiting is None:
        return []
    try:
        async with asyncio.timeout(TIMEOUT):
            answers = await cast("Awaitable[Iterable[tuple[str, bool, str]]]", waiting)
        return [Finding(name, *one) for one in answers]
    except Exception as error:
        return [Finding(name, "diagnosis", False, f"{type(error).__name__}: {error}")]
