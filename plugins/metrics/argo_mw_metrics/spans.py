"""Spans: one for each call, with what layers did as its events.

A flight that several callers share runs in none of their contexts; what happens in it is an
event of the span of the caller that started it, and the spans of those who joined link to it.
"""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from opentelemetry.util.types import AttributeValue

from argo_mw.plugin import (
    AttemptEnded,
    Call,
    Event,
    Events,
    LayerActed,
    LayerBypassed,
    Next,
    Outcome,
)
from argo_mw_metrics.instruments import error_type, served_by

NAME = "metrics"


class Spans:
    """The outermost layer: opens a span for each call that is not answered at once.

    It watches events only while a span is open, so that it costs nothing while it is off.

    Args:
        tracer: Makes spans.
        events: What happens.
        wanted: Whether anybody takes spans now; without, nothing is done.
    """

    def __init__(
        self, tracer: Tracer, events: Events, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        self._wanted = wanted
        self._tracer = tracer
        self._events = events
        self._observer = self.observe
        # Of equal calls, in the order in which they began: thousands may share a flight.
        self._open: dict[str, dict[Span, None]] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """What *call_next* answers, in a span."""
        if not self._wanted():
            return await call_next(call)
        with self._tracer.start_as_current_span(
            call.operation.name,
            kind=SpanKind.INTERNAL,
            attributes=_describe(call),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            if not span.is_recording():
                return await call_next(call)
            if not self._open:
                self._events.add(self._observer)
            siblings = self._open.setdefault(call.key, {})
            siblings[span] = None
            try:
                outcome = await call_next(call)
            except BaseException as error:
                span.set_attribute("error.type", error_type(error))
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise
            else:
                _conclude(span, outcome)
                return outcome
            finally:
                del siblings[span]
                if not siblings:
                    del self._open[call.key]
                if not self._open:
                    self._events.remove(self._observer)

    def observe(self, event: Event) -> None:
        """Note *event*, what a layer or an attempt did, on the span of the call it was for."""
        match event:
            case LayerActed(layer, action, call, detail) if call is not None:
                span = self._span_of(call)
                if span is None:
                    return
                if action == "joined":
                    self._link(span, call)
                span.add_event(
                    f"{layer} {action}", _known({"argo.layer": layer, "argo.detail": detail})
                )
            case AttemptEnded(call, attempt):
                span = self._span_of(call)
                if span is not None:
                    span.add_event(
                        "attempt",
                        _known(
                            {
                                "argo.upstream": attempt.upstream,
                                "argo.status": attempt.status,
                                "argo.seconds": attempt.latency,
                                "argo.error": attempt.error,
                            }
                        ),
                    )
            case LayerBypassed(layer, call, error):
                span = self._span_of(call)
                if span is not None:
                    span.add_event(
                        f"{layer} bypassed",
                        {"argo.layer": layer, "error.type": error_type(error)},
                    )
            case _:
                pass

    def _span_of(self, call: Call) -> Span | None:
        siblings = self._open.get(call.key)
        if not siblings:
            return None
        current = get_current_span()
        return current if current in siblings else next(iter(siblings))

    def _link(self, span: Span, call: Call) -> None:
        first = next(iter(self._open[call.key]))
        if first is not span:
            span.add_link(first.get_span_context(), {"argo.relation": "shares the flight of"})


def _describe(call: Call) -> dict[str, AttributeValue]:
    return _known(
        {
            "argo.operation": call.operation.name,
            "argo.subject": call.subject,
            "argo.key": call.key,
        }
    )


def _conclude(span: Span, outcome: Outcome) -> None:
    cost = outcome.cost
    span.set_attributes(
        _known(
            {
                "argo.upstream": outcome.upstream or "",
                "argo.served_by": served_by(outcome),
                "argo.via": list(outcome.via),
                "argo.cost.usd": cost.usd or 0.0,
                "gen_ai.usage.input_tokens": cost.tokens_in,
                "gen_ai.usage.output_tokens": cost.tokens_out,
            }
        )
    )
    for note in outcome.notes:
        span.add_event("note", {"argo.layer": note.layer, "argo.detail": note.text})


def _known(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """*attributes* without those that say nothing."""
    return {name: value for name, value in attributes.items() if value not in ("", 0, 0.0, [])}
