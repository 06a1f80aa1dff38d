"""Setting up the log of a program: lines for a person on a terminal, JSON for machines."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Final, Literal, TextIO, get_args

from argo_mw.base.errors import BadParameter
from argo_mw.base.printable import printable, printable_traceback
from argo_mw.base.secret import redact

if TYPE_CHECKING:
    from structlog.typing import Processor

LogForm = Literal["auto", "json", "text"]
"""How the log is written: as ``text`` for a person, in colour on a terminal; as ``json``, an object
in each line; or ``auto``: as text on a terminal and as JSON elsewhere."""

_NAME: Final = "argo_mw"
_AS_JSON: Final = "argo-mw json"
_AS_TEXT: Final = "argo-mw text"


def set_up_log(
    form: LogForm = "auto", *, level: int | str = "INFO", stream: TextIO | None = None
) -> None:
    """Write the log of this program to *stream*, through structlog and :mod:`logging` alike.

    Events have the time in UTC, a level and the logger's name, and ``trace_id`` and ``span_id``
    where they happen in a span of OpenTelemetry. What other libraries log is written in the same
    form, from warnings on. For programs that have no set-up of their own; called again, it replaces
    what it did before.

    Args:
        form: How: ``auto``, ``json`` or ``text``.
        level: From which level on the framework's own events are written.
        stream: Where to; by default standard error.

    Raises:
        BadParameter: *form* is none of these, or *level* is not a level of :mod:`logging`.
    """
    import structlog
    from structlog.stdlib import ProcessorFormatter

    if form not in get_args(LogForm):
        msg = f"there is no log of the form {form!r}; ask for auto, json or text"
        raise BadParameter(msg)
    handler = _StandardError() if stream is None else logging.StreamHandler(stream)
    terminal = handler.stream.isatty()
    as_json = form == "json" or (form == "auto" and not terminal)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace,
    ]
    handler.set_name(_AS_JSON if as_json else _AS_TEXT)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*common, _make_safe],
            processors=[ProcessorFormatter.remove_processors_meta, _renderer(as_json, terminal)],
        )
    )
    _set_level(level)
    root = logging.getLogger()
    for old in [one for one in root.handlers if one.get_name() in (_AS_JSON, _AS_TEXT)]:
        root.removeHandler(old)
    root.addHandler(handler)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def log_form() -> Literal["json", "text"] | None:
    """Return the form that :func:`set_up_log` gave the log; ``None`` if it was not called.

    For plugins that start processes whose log is to look like this one's.
    """
    names = {handler.get_name() for handler in logging.getLogger().handlers}
    if _AS_JSON in names:
        return "json"
    return "text" if _AS_TEXT in names else None


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is now: programs and tests put others in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def add_trace(
    _: object, __: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Add the identifiers of the current span, if the program traces with OpenTelemetry.

    A processor for programs that configure structlog themselves; it gets a logger, a method's name
    and *event*, as structlog's processors do.

    Args:
        _: The logger.
        __: The name of the method that logs.
        event: The event, which is changed.
    """
    # Not imported here: the core does not need it, and a program that traces has imported it.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"] = f"{context.trace_id:032x}"
            event["span_id"] = f"{context.span_id:016x}"
    return event


def _set_level(level: int | str) -> None:
    try:
        logging.getLogger(_NAME).setLevel(level.upper() if isinstance(level, str) else level)
    except (TypeError, ValueError) as error:
        msg = f"there is no level {level!r} of the log; ask for DEBUG, INFO, WARNING or ERROR"
        raise BadParameter(msg) from error


def _renderer(as_json: bool, terminal: bool) -> Processor:
    import structlog

    if as_json:
        return structlog.processors.JSONRenderer(default=repr)
    return structlog.dev.ConsoleRenderer(colors=terminal)


def _make_safe(
    _: object, __: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Put an event of another library on one line without secrets, like our own events."""
    raised = event.pop("exc_info", None)
    if isinstance(raised, tuple) and raised[0] is not None:
        event["exception"] = printable_traceback(raised)
    return {
        name: printable(redact(value)) if isinstance(value, str) and name != "exception" else value
        for name, value in event.items()
    }
