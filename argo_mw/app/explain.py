"""Explanations: what each part of the chain would do with a call now, and why.

:func:`explain` says what is known without waiting. :func:`dry_run` looks further: layers look into
the shared store, and guards say what they would refuse. Nothing is sent, taken or changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

from attrs import evolve, frozen

from argo_mw.app.pipeline import UPSTREAM_FLAG, Pipeline
from argo_mw.base.clock import Clock
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.errors import Refusal
from argo_mw.counters.instance import Tallies
from argo_mw.flags import Decision
from argo_mw.flags.parse import format_rule
from argo_mw.model.call import Call
from argo_mw.model.guard import DryRunGuard, Guard, Request
from argo_mw.model.layer import DryRuns, Explains, Layer
from argo_mw.model.upstream import Upstream

DRY_RUN_TIMEOUT: Final = 2.0
"""Seconds that a layer or a guard may take for its dry run."""


@frozen
class Explained:
    """What one part of the chain would do.

    Attributes:
        name: The layer's name, or ``upstream.NAME``.
        on: Whether it would act; for an upstream, whether it could be asked.
        flag: What its flag is set to, and by what.
        text: What it would do and why.
    """

    name: str
    on: bool
    flag: str
    text: str


def explain(pipeline: Pipeline, call: Call, tallies: Tallies) -> list[Explained]:
    """Return what the layers and upstreams of *call*'s operation would do, outermost first."""
    return [_layer(pipeline, one, call, tallies) for one in _layers(pipeline, call)] + [
        _upstream(pipeline, name, call) for name in pipeline.candidates[call.operation.name]
    ]


async def dry_run(
    pipeline: Pipeline, call: Call, tallies: Tallies, clock: Clock
) -> list[Explained]:
    """Return what :func:`explain` does, after each part has looked where that takes waiting."""
    names = pipeline.candidates[call.operation.name]
    return await asyncio.gather(
        *(_look_layer(pipeline, one, call, tallies, clock) for one in _layers(pipeline, call)),
        *(_look_upstream(pipeline, name, call, clock) for name in names),
    )


def _layers(pipeline: Pipeline, call: Call) -> Sequence[Layer]:
    placed = [*pipeline.order.outer, *pipeline.order.inner]
    off = sorted((one for one in pipeline.layers if one not in placed), key=lambda one: one.name)
    return [one for one in (*placed, *off) if one.serves(call.operation)]


def _layer(pipeline: Pipeline, layer: Layer, call: Call, tallies: Tallies) -> Explained:
    decision = pipeline.flags[layer.flag].decide(call)
    flag = _flag(pipeline, layer.flag, decision)
    text = _explanation(layer, call, decision)
    if decision.shadow and (result := tallies.shadow(layer.name, call.operation.name)).calls:
        text = f"{text}; {result}"
    return Explained(layer.name, decision.on, flag, text)


async def _look_layer(
    pipeline: Pipeline, layer: Layer, call: Call, tallies: Tallies, clock: Clock
) -> Explained:
    explained = _layer(pipeline, layer, call, tallies)
    if not explained.on or not isinstance(layer.middleware, DryRuns):
        return explained
    try:
        text = await _in_time(layer.middleware.dry_run(call), clock)
    except TimeLimitExceeded:
        return evolve(explained, text=f"{explained.text} ({_TOO_LONG})")
    except Exception as error:
        text = _no_words(error)
    return evolve(explained, text=_with_closed(layer, text))


def _explanation(layer: Layer, call: Call, decision: Decision) -> str:
    if decision.shadow:
        return "would see the answer, and serve nothing"
    return _with_closed(layer, _own_words(layer, call)) if decision.on else ""


def _own_words(layer: Layer, call: Call) -> str:
    if not isinstance(layer.middleware, Explains):
        return ""
    try:
        return layer.middleware.explain(call)
    except Exception as error:
        return _no_words(error)


def _with_closed(layer: Layer, text: str) -> str:
    closed = "a failure of its own would refuse the call" if layer.fail_closed else ""
    return "; ".join(part for part in (text, closed) if part)


def _no_words(error: Exception) -> str:
    return f"cannot explain itself: {type(error).__name__}: {error}"


def _upstream(pipeline: Pipeline, name: str, call: Call) -> Explained:
    flag = UPSTREAM_FLAG + name
    decision = pipeline.flags[flag].decide(call)
    bound = pipeline.upstreams[name]
    reason = _unsupported(bound.upstream, call)
    text = f"asked for {bound.upstream.timeout:g} s at most; {_limits(bound.upstream)}"
    if others := [guard.name for guard in bound.asked_guards if guard.name != "quota"]:
        text += f"; guarded by {', '.join(others)}"
    return Explained(
        flag,
        decision.on and not reason,
        _flag(pipeline, flag, decision),
        f"would not be asked: it {reason}" if reason else text,
    )


def _unsupported(upstream: Upstream, call: Call) -> str:
    """Return why *upstream* cannot answer *call* at all, or ""."""
    if upstream.unsupported is None:
        return ""
    try:
        return upstream.unsupported(call.bind(upstream.name)) or ""
    except Exception as error:
        return _no_words(error)


def _limits(upstream: Upstream) -> str:
    limits = upstream.limits
    given = (
        (limits.per_second, "per second"),
        (limits.per_minute, "per minute"),
        (limits.per_day, "per day"),
        (limits.concurrency, "at once"),
    )
    return ", ".join(f"{n} {what}" for n, what in given if n is not None) or "no limits"


async def _look_upstream(pipeline: Pipeline, name: str, call: Call, clock: Clock) -> Explained:
    explained = _upstream(pipeline, name, call)
    if not explained.on:
        return explained
    bound = pipeline.upstreams[name]
    request = Request(bound.upstream, (call.bind(name),))
    found = [await _look_guard(guard, request, clock) for guard in bound.asked_guards]
    if refusals := [text for refused, text in found if refused]:
        return evolve(explained, on=False, text=f"would be refused: {'; '.join(refusals)}")
    said = [text for _, text in found if text]
    text = f"asked for {bound.upstream.timeout:g} s at most; {_limits(bound.upstream)}"
    return evolve(explained, text="; ".join((text, *said)))


async def _look_guard(guard: Guard, request: Request, clock: Clock) -> tuple[bool, str]:
    """Return whether *guard* would refuse *request*, and its words."""
    if not isinstance(guard, DryRunGuard):
        return False, f"whether {guard.name} would refuse it is not known before it is asked"
    try:
        return False, await _in_time(guard.dry_run(request), clock)
    except TimeLimitExceeded:
        return False, f"whether {guard.name} would refuse it is not known ({_TOO_LONG})"
    except Refusal as refusal:
        return True, str(refusal)
    except Exception as error:  # guards fail closed
        return True, f"guard {guard.name} failed: {error}"


_TOO_LONG: Final = f"the dry run took longer than {DRY_RUN_TIMEOUT:g} s"


async def _in_time(looking: Awaitable[str], clock: Clock) -> str:
    async def look() -> str:
        return await looking

    return await fail_at(look(), clock.monotonic() + DRY_RUN_TIMEOUT, clock)


def _flag(pipeline: Pipeline, name: str, decision: Decision) -> str:
    flag = pipeline.flags[name]
    arm = f", {decision.arm}" if decision.arm else ""
    return f"{format_rule(flag.rule)} ({flag.held_by or flag.source}; {decision.reason}{arm})"
