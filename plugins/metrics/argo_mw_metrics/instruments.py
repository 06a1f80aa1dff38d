"""Instruments: counters and histograms of constant memory, fed by events.

Attributes are names of operations, upstreams, layers and kinds of errors, of which a program has
a handful. Subjects and tenants are never among them.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.metrics import Meter

from argo_mw.plugin import (
    AnswerSeen,
    AttemptEnded,
    CallEnded,
    Clock,
    Event,
    LayerActed,
    LayerBypassed,
    Outcome,
    Reconfigured,
    RequestSent,
    Trouble,
)

_SECONDS = (
    *(1e-5, 1e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 50.0),
)
_AGES = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)


class Instruments:
    """An observer that records events with *meter*.

    Args:
        meter: Makes the instruments; OpenTelemetry's API, with any provider behind it.
        clock: The time, for the age of answers.
        enabled: Returns whether metrics are taken now; if not, nothing is recorded.
    """

    def __init__(
        self, meter: Meter, clock: Clock, enabled: Callable[[], bool] = lambda: True
    ) -> None:
        self._clock = clock
        self._enabled = enabled
        histogram, counter = meter.create_histogram, meter.create_counter
        self._calls = histogram(
            "argo.call.duration",
            unit="s",
            description="How long callers waited",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._ages = histogram(
            "argo.answer.age",
            unit="s",
            description="How old answers were when callers got them",
            explicit_bucket_boundaries_advisory=_AGES,
        )
        self._attempts = histogram(
            "argo.attempt.duration",
            unit="s",
            description="How long single tries at an upstream took",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._requests = counter("argo.upstream.requests", "{request}", "Requests sent")
        self._loads = counter("argo.upstream.loads", "{call}", "Calls that requests were to answer")
        self._usd = counter("argo.cost", "USD", "What answers of upstreams cost")
        self._tokens = counter("argo.tokens", "{token}", "Tokens sent to models and received")
        self._answers = counter("argo.answers", "{answer}", "Fresh answers, by where from")
        self._actions = counter("argo.layer.actions", "{action}", "What layers did")
        self._bypasses = counter("argo.layer.bypasses", "{call}", "Calls that passed a layer by")
        self._troubles = counter("argo.troubles", "{trouble}", "Troubles that need attention")
        self._builds = counter("argo.reconfigurations", "{build}", "Times the chain was rebuilt")

    def __call__(self, event: Event) -> None:
        """Record *event*."""
        if not self._enabled():
            return
        match event:
            case CallEnded():
                self._call_ended(event)
            case AttemptEnded():
                self._attempt_ended(event)
            case RequestSent(upstream, operation, calls):
                attributes = {"argo.upstream": upstream, "argo.operation": operation}
                self._requests.add(1, attributes)
                self._loads.add(calls, attributes)
            case LayerActed(layer, action):
                self._actions.add(1, {"argo.layer": layer, "argo.action": action})
            case AnswerSeen(call, _, source):
                self._answers.add(1, {"argo.operation": call.operation.name, "argo.source": source})
            case LayerBypassed(layer, _, error):
                self._bypasses.add(1, {"argo.layer": layer, "error.type": error_type(error)})
            case Trouble(where):
                self._troubles.add(1, {"argo.where": where})
            case Reconfigured():
                self._builds.add(1)

    def _call_ended(self, event: CallEnded) -> None:
        attributes = {"argo.operation": event.call.operation.name}
        if event.outcome is not None:
            attributes["argo.served_by"] = served_by(event.outcome)
            if event.outcome.as_of is not None:
                self._ages.record(event.outcome.age(self._clock.time()), attributes)
        elif event.error is not None:
            attributes["error.type"] = error_type(event.error)
        self._calls.record(event.latency, attributes)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        attempt = event.attempt
        attributes = {
            "argo.upstream": attempt.upstream,
            "argo.operation": event.call.operation.name,
        }
        self._attempts.record(attempt.latency, {**attributes, "argo.status": attempt.status})
        cost = attempt.cost
        if cost.usd:
            self._usd.add(cost.usd, attributes)
        if cost.tokens_in or cost.tokens_out:
            self._tokens.add(cost.tokens_in, {**attributes, "gen_ai.token.type": "input"})
            self._tokens.add(cost.tokens_out, {**attributes, "gen_ai.token.type": "output"})


def served_by(outcome: Outcome) -> str:
    """Return ``upstream``, or the name of the layer that had the answer."""
    return "upstream" if outcome.attempts or not outcome.via else outcome.via[-1]


def error_type(error: BaseException) -> str:
    """Return the name of the error's class, for OpenTelemetry's ``error.type``."""
    return type(error).__qualname__
