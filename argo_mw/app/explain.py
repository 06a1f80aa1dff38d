"""Explanations: what each layer would do with a call now, and why."""

from __future__ import annotations

from attrs import frozen

from argo_mw.app.pipeline import UPSTREAM_FLAG, Pipeline
from argo_mw.flags import Decision
from argo_mw.flags.parse import format_rule
from argo_mw.model.call import Call
from argo_mw.model.layer import Explains, Layer


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


def explain(pipeline: Pipeline, call: Call) -> list[Explained]:
    """Return what the layers and upstreams of *call*'s operation would do, outermost first."""
    placed = [*pipeline.order.outer, *pipeline.order.inner]
    off = sorted((one for one in pipeline.layers if one not in placed), key=lambda one: one.name)
    layers = [one for one in (*placed, *off) if one.serves(call.operation)]
    return [_layer(pipeline, one, call) for one in layers] + [
        _upstream(pipeline, name, call) for name in pipeline.candidates[call.operation.name]
    ]


def _layer(pipeline: Pipeline, layer: Layer, call: Call) -> Explained:
    decision = pipeline.flags[layer.flag].decide(call)
    flag = _flag(pipeline, layer.flag, decision)
    return Explained(layer.name, decision.on, flag, _explanation(layer, call, decision))


def _explanation(layer: Layer, call: Call, decision: Decision) -> str:
    if decision.shadow:
        return "would see the answer, and serve nothing"
    if not decision.on:
        return ""
    closed = "a failure of its own would refuse the call" if layer.fail_closed else ""
    return "; ".join(text for text in (_own_words(layer, call), closed) if text)


def _own_words(layer: Layer, call: Call) -> str:
    if not isinstance(layer.middleware, Explains):
        return ""
    try:
        return layer.middleware.explain(call)
    except Exception as error:
        return f"cannot explain itself: {type(error).__name__}: {error}"


def _upstream(pipeline: Pipeline, name: str, call: Call) -> Explained:
    flag = UPSTREAM_FLAG + name
    decision = pipeline.flags[flag].decide(call)
    upstream = pipeline.upstreams[name].upstream
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
    return Explained(flag, decision.on, _flag(pipeline, flag, decision), text)


def _flag(pipeline: Pipeline, name: str, decision: Decision) -> str:
    flag = pipeline.flags[name]
    arm = f", {decision.arm}" if decision.arm else ""
    return f"{format_rule(flag.rule)} ({flag.source}; {decision.reason}{arm})"
