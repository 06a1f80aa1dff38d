"""Explanations: what each layer would do with a call now, and why."""

from __future__ import annotations

from attrs import frozen

from argo_mw.build import UPSTREAM_FLAG, Build
from argo_mw.call import Call
from argo_mw.flags import Decision
from argo_mw.flags.parse import format_rule
from argo_mw.layer import Layer


@frozen
class Explained:
    """What one part of the chain would do.

    Attributes:
        name: The layer's name, or ``upstream.NAME``.
        on: Whether it would act.
        flag: What its flag is set to, and by what.
        text: What it would do and why.
    """

    name: str
    on: bool
    flag: str
    text: str


def explain(build: Build, call: Call) -> list[Explained]:
    """The layers that serve *call*'s operation and its upstreams, from the caller inwards."""
    installed = [p.layer for p in build.parts.values() if p.layer is not None]
    placed = [*build.order.outer, *build.order.inner]
    off = sorted((one for one in installed if one not in placed), key=lambda one: one.name)
    layers = [one for one in (*placed, *off) if one.serves(call.operation)]
    return [_layer(build, one, call) for one in layers] + [
        _upstream(build, name, call) for name in build.candidates[call.operation.name]
    ]


def _layer(build: Build, layer: Layer, call: Call) -> Explained:
    decision = build.flags[layer.name].decide(call)
    return Explained(
        layer.name, decision.on, _flag(build, layer.name, decision), _told(layer, call, decision)
    )


def _told(layer: Layer, call: Call, decision: Decision) -> str:
    if decision.shadow:
        return "would be shown the answer, and serve nothing"
    if not decision.on or layer.explain is None:
        return ""
    try:
        return layer.explain(call)
    except Exception as error:
        return f"cannot be asked: {type(error).__name__}: {error}"


def _upstream(build: Build, name: str, call: Call) -> Explained:
    flag = UPSTREAM_FLAG + name
    decision = build.flags[flag].decide(call)
    upstream = build.posts[name].upstream
    limits = ", ".join(
        f"{limit} {what}"
        for what, limit in (
            ("per second", upstream.limits.per_second),
            ("per minute", upstream.limits.per_minute),
            ("per day", upstream.limits.per_day),
            ("at once", upstream.limits.concurrency),
        )
        if limit is not None
    )
    text = f"asked for {upstream.timeout:g} s at most; {limits or 'no limits'}"
    return Explained(flag, decision.on, _flag(build, flag, decision), text)


def _flag(build: Build, name: str, decision: Decision) -> str:
    flag = build.flags[name]
    arm = f", {decision.arm}" if decision.arm else ""
    return f"{format_rule(flag.rule)} ({flag.source}; {decision.reason}{arm})"
