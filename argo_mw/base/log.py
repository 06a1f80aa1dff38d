"""The log: through structlog where the program configures it, else through :mod:`logging`."""

from __future__ import annotations

import logging

import structlog

_CALLER = 3


class Log:
    """A logger that configures nothing and never writes to standard output.

    Programs that configure structlog get events with their details there. In others they go to
    the standard library's logger of the same name, as one line each; warnings are then seen on
    standard error unless the program decides otherwise.

    Args:
        name: The logger's name.
    """

    def __init__(self, name: str) -> None:
        self._structured = structlog.stdlib.get_logger(name)
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
        if structlog.is_configured():
            getattr(self._structured, method)(event, **details)
            return
        text = "".join(f" {name}={value!r}" for name, value in details.items())
        getattr(self._plain, method)("%s%s", event, text, stacklevel=_CALLER)
