"""The log: through structlog where the program configures it, else through :mod:`logging`."""

from __future__ import annotations

import logging

import structlog

_CALLER = 3


class Log:
    """Says what happened, without a word on standard output and without configuring anything.

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
        """Say *event*, with *details*, to those who look closely."""
        self._say("debug", event, details)

    def info(self, event: str, **details: object) -> None:
        """Say *event*, with *details*, to those who want to know."""
        self._say("info", event, details)

    def warning(self, event: str, **details: object) -> None:
        """Say that *event* is not as it should be, with *details*."""
        self._say("warning", event, details)

    def error(self, event: str, **details: object) -> None:
        """Say that *event* failed, with *details*."""
        self._say("error", event, details)

    def exception(self, event: str, **details: object) -> None:
        """Say that *event* failed, with *details* and the exception that is being handled."""
        self._say("exception", event, details)

    def _say(self, method: str, event: str, details: dict[str, object]) -> None:
        if structlog.is_configured():
            getattr(self._structured, method)(event, **details)
            return
        told = "".join(f" {name}={value!r}" for name, value in details.items())
        getattr(self._plain, method)("%s%s", event, told, stacklevel=_CALLER)
