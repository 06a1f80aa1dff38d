"""The log: through structlog where the program configures it, else through :mod:`logging`."""

from __future__ import annotations

import logging
import sys

from argo_mw.base.printable import printable, printable_traceback
from argo_mw.base.secret import redact

_CALLER = 3


class Log:
    """A logger that configures nothing and never writes to standard output.

    Programs that configure structlog get events with their details there. In others they go to
    the standard library's logger of the same name, as one line each; warnings are then seen on
    standard error unless the program decides otherwise. Neither shows a secret of this process,
    and in both an event is one line, whatever upstreams have written into it.

    Args:
        name: The logger's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._plain = logging.getLogger(name)

    def debug(self, event: str, **details: object) -> None:
        """Log *event* with *details*, for debugging."""
        self._log("debug", event, details)

    def info(self, event: str, **details: object) -> None:
        """Log *event* with *details*, for information."""
        self._log("info", event, details)

    def warning(self, event: str, **details: object) -> None:
        """Log *event* with *details*, as a warning."""
        self._log("warning", event, details)

    def error(self, event: str, **details: object) -> None:
        """Log *event* with *details*, as an error."""
        self._log("error", event, details)

    def exception(self, event: str, **details: object) -> None:
        """Log *event* with *details* and the exception that is being handled, as an error."""
        self._log("exception", event, details)

    def _log(self, method: str, event: str, details: dict[str, object]) -> None:
        raised = sys.exc_info() if method == "exception" else (None, None, None)
        structlog = sys.modules.get("structlog")  # slow to import, and not configured if absent
        if structlog is not None and structlog.is_configured():
            safe = {name: _safe(value) for name, value in details.items()}
            if raised[0] is not None:
                # Formatted here, because other formatters would show the secrets in it.
                safe["exception"] = printable_traceback(raised)
                method = "error"
            getattr(structlog.stdlib.get_logger(self._name), method)(_shown(event), **safe)
            return
        text = "".join(f" {name}={value!r}" for name, value in details.items())
        if raised[0] is None:
            getattr(self._plain, method)("%s", _shown(event + text), stacklevel=_CALLER)
        elif self._plain.isEnabledFor(logging.ERROR):
            path, line, function, _ = self._plain.findCaller(stacklevel=_CALLER)
            record = self._plain.makeRecord(
                self._plain.name,
                logging.ERROR,
                path,
                line,
                "%s",
                (_shown(event + text),),
                raised,
                function,
            )
            record.exc_text = printable_traceback(raised)  # which formatters use where it is set
            self._plain.handle(record)


def _shown(text: str) -> str:
    """Return *text* as one line that shows no secret."""
    return printable(redact(text))


def _safe(value: object) -> object:
    """Return *value*, or its cleaned text if its ``repr`` holds a secret or control characters."""
    if isinstance(value, str):
        return _shown(value)
    if value is None or isinstance(value, (int, float)):
        return value
    shown = repr(value)
    safe = _shown(shown)
    return value if safe == shown else safe
