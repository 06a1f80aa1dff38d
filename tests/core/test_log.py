"""The log goes where the program wants it, and never to standard output by itself."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from argo_mw.plugin import Log

METHODS = ("debug", "info", "warning", "error", "exception")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("method", METHODS)
def test_without_structlog_s_configuration_it_is_a_line_of_logging(
    caplog: pytest.LogCaptureFixture, method: str
) -> None:
    caplog.set_level(logging.DEBUG, "argo_mw_mine")
    getattr(Log("argo_mw_mine"), method)("it broke", where="here")
    [record] = caplog.records
    assert "it broke where='here'" == record.getMessage()
    assert {"exception": "ERROR"}.get(method, method.upper()) == record.levelname
    assert __file__ == record.pathname, "the line that logged it"


@pytest.mark.parametrize("method", METHODS)
def test_with_it_events_keep_their_details(method: str) -> None:
    printed = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer(sort_keys=True)],
        logger_factory=structlog.PrintLoggerFactory(printed),
    )
    getattr(Log("argo_mw_mine"), method)("it broke", where="here")
    assert '"event": "it broke"' in printed.getvalue()
    assert '"where": "here"' in printed.getvalue()


def test_a_program_s_standard_output_is_its_own() -> None:
    program = (
        'from argo_mw.plugin import Log; Log("x").info("fine"); Log("x").warning("bad", number=1)'
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ("", "bad number=1\n") == (ended.stdout, ended.stderr)
