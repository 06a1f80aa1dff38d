"""Spans: one for each call that waits, and one for each load that several calls may share.

A flight runs in a copy of the context of the caller that started it, so its span is below that
caller's, and all that happens in it is below its own. The spans of callers that joined link to it:
they are parts of other traces, and so is their waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Token

from attrs import define, field
from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach, create_key, detach, get_value, set_value
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from argo_mw.plugin import (
    AttemptEnded,
    Call,
    CallEnded,
    Event,
    Events,
    LayerActed,
    LayerBypassed,
    Next,
    Outcome,
    redact,
)

NAME = "metrics"
_OPENED = create_key("argo-mw-opened")
"""Where the trace's context holds the innermost open span."""


@define(eq=False)
class _OpenSpan:
    """A span that has begun and not ended, of a call or of a flight.

    Attributes:
        owner: The layer that began it; another observes the same events after a change of the
            configuration.
        call: What it is about.
        span: The span itself.
        task: The task that began it. Tasks that this one starts inherit its context, and must
            not end the span.
        token: What ends its time as the current span.
    """

    owner: Spans
    call: Call
    span: Span
    task: asyncio.Task[object] | None
    token: Token[TraceContext] = field(init=False)

    def begun_for(self, call: Call, *, by: Spans) -> bool:
        """Return whether *by* began it in this task, for *call* itself and not for an equal one."""
        return self.owner is by and self.call is call and self.task is asyncio.current_task()


class Spans:
    """The outermost layer: opens a span for each call that is not answered at once.

    A call that waits, for an upstream, a flight or a look into a store, gets its span before it
    waits, from :meth:`find`: the core awaits what a layer may find by waiting only if no layer has
    an answer at hand, so that a hit in memory has no span. Such a span ends with the call's
    ``CallEnded``. A call that enters the chain without that, as a refresh does, has its span there.

    It observes events only while a span is open, so that it costs nothing while it is off.

    Args:
        tracer: Makes spans.
        events: What happens.
        enabled: Returns whether spans are taken now; if not, none is begun.
    """

    def __init__(
        self, tracer: Tracer, events: Events, enabled: Callable[[], bool] = lambda: True
    ) -> None:
        self._enabled = enabled
        self._tracer = tracer
        self._events = events
        self._observer = self.observe
        # By key, in the order in which they began: thousands may share a flight.
        self._open: dict[str, dict[Span, None]] = {}
        self._flights: dict[str, dict[_OpenSpan, None]] = {}

    async def find(self, call: Call) -> None:
        """Begin the span of *call*, which has to wait; never find an answer."""
        # The core awaits this in the caller's own task, whose context keeps the span from here on.
        if self._enabled():
            self._begin(call)

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return what *call_next* answers, in a span."""
        if NAME in call.missed or not self._enabled():
            return await call_next(call)
        opened = self._begin(call)
        try:
            outcome = await call_next(call)
        except BaseException as error:
            self._end(opened, error=error)
            raise
        self._end(opened, outcome=outcome)
        return outcome

    def explain(self, call: Call) -> str:
        """Say whether *call* would get a span."""
        if self._enabled():
            return "would open a span, unless the answer is in memory"
        return "would open no span: the program has set up no provider of tracers"

    def observe(self, event: Event) -> None:
        """Note *event* on the span of its call, or end that span."""
        match event:
            case CallEnded(call=call, outcome=outcome, error=error):
                opened = get_value(_OPENED)
                if isinstance(opened, _OpenSpan) and opened.begun_for(call, by=self):
                    self._end(opened, outcome=outcome, error=error)
            case LayerActed(_, "flight began", call) if call is not None:
                self._begin_flight(call)
            case LayerActed(_, "flight landed" | "flight failed", call, why) if call is not None:
                self._end_flight(call, why)
            case LayerActed(layer, action, call, detail) if call is not None:
                self._note_action(call, layer, action, detail)
            case AttemptEnded(call, attempt):
                noted: dict[str, AttributeValue] = {
                    "argo_mw.upstream": attempt.upstream,
                    "argo_mw.status": attempt.status,
                    "argo_mw.seconds": attempt.latency,
                    "argo_mw.error": attempt.error,
                }
                self._note(call, "attempt", noted)
            case LayerBypassed(layer, call, error):
                noted = {"argo_mw.layer": layer, "error.type": error_type(error)}
                self._note(call, f"{layer} bypassed", noted)
            case _:
                pass

    def _begin_flight(self, call: Call) -> None:
        """Begin the span of a flight, in its context, below the span of the call that starts it."""
        above = get_value(_OPENED)
        if isinstance(above, _OpenSpan) and above.owner is self and above.call.key == call.key:
            flight = self._begin(call, f"load {call.operation.name}")
            self._flights.setdefault(call.key, {})[flight] = None

    def _end_flight(self, call: Call, why: str) -> None:
        flight = get_value(_OPENED)
        flights = self._flights.get(call.key, {})
        if not isinstance(flight, _OpenSpan) or flight not in flights:
            return
        del flights[flight]
        if not flights:
            del self._flights[call.key]
        if why:
            flight.span.set_status(Status(StatusCode.ERROR, why))
        self._end(flight)

    def _begin(self, call: Call, name: str = "") -> _OpenSpan:
        span = self._tracer.start_span(
            name or call.operation.name, kind=SpanKind.INTERNAL, attributes=_describe(call)
        )
        opened = _OpenSpan(self, call, span, asyncio.current_task())
        opened.token = attach(set_value(_OPENED, opened, set_span_in_context(span)))
        if not self._open:
            self._events.add(self._observer)
        self._open.setdefault(call.key, {})[span] = None
        return opened

    def _end(
        self,
        opened: _OpenSpan,
        *,
        outcome: Outcome | None = None,
        error: BaseException | None = None,
    ) -> None:
        span, key = opened.span, opened.call.key
        del self._open[key][span]
        if not self._open[key]:
            del self._open[key]
        if not self._open:
            self._events.remove(self._observer)
        detach(opened.token)
        if outcome is not None:
            _conclude(span, outcome)
        elif error is not None:
            span.set_attribute("error.type", error_type(error))
            span.set_status(Status(StatusCode.ERROR, redact(str(error))))
        span.end()

    def _note_action(self, call: Call, layer: str, action: str, detail: str) -> None:
        span = self._span_of(call)
        if span is None:
            return
        if action == "joined":
            self._link(span, call)
        span.add_event(
            f"{layer} {action}", _known({"argo_mw.layer": layer, "argo_mw.detail": detail})
        )

    def _note(self, call: Call, name: str, attributes: dict[str, AttributeValue]) -> None:
        span = self._span_of(call)
        if span is not None:
            span.add_event(name, _known(attributes))

    def _span_of(self, call: Call) -> Span | None:
        siblings = self._open.get(call.key)
        if not siblings:
            return None
        current = get_current_span()
        return current if current in siblings else next(iter(siblings))

    def _link(self, span: Span, call: Call) -> None:
        # The latest one: an earlier one was outdated by an invalidation, and no call joins it.
        for flight in reversed(self._flights.get(call.key, {})):
            context = flight.span.get_span_context()
            span.add_link(context, {"argo_mw.relation": "waits for the load of"})
            return


def _describe(call: Call) -> dict[str, AttributeValue]:
    return _known(
        {
            "argo_mw.operation": call.operation.name,
            "argo_mw.subject": call.subject,
            "argo_mw.key": call.key,
        }
    )


def _conclude(span: Span, outcome: Outcome) -> None:
    cost = outcome.cost
    span.set_attributes(
        _known(
            {
                "argo_mw.upstream": outcome.upstream or "",
                "argo_mw.served_by": served_by(outcome),
                "argo_mw.via": list(outcome.via),
                "argo_mw.lacks": sorted(outcome.lacks),
                "argo_mw.cost.usd": cost.usd or 0.0,
                "gen_ai.usage.input_tokens": cost.tokens_in,
                "gen_ai.usage.output_tokens": cost.tokens_out,
            }
        )
    )
    for note in outcome.notes:
        span.add_event("note", {"argo_mw.layer": note.layer, "argo_mw.detail": note.text})


def served_by(outcome: Outcome) -> str:
    """Return ``upstream``, or the name of the layer that had the answer."""
    return "upstream" if outcome.attempts or not outcome.via else outcome.via[-1]


def error_type(error: BaseException) -> str:
    """Return the name of the error's class, for OpenTelemetry's ``error.type``."""
    return type(error).__qualname__


def _known(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return *attributes* without the empty ones."""
    return {name: value for name, value in attributes.items() if value not in ("", 0, 0.0, [])}
