"""One line sets up a program's log: text for people, JSON for machines, with traces."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from argo_mw import BadParameter, Secret
from argo_mw.plugin import Log, log_form, set_up_log

log = Log("argo_mw")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("argo_mw")
    handlers, level = list(root.handlers), ours.level
    # A command of an earlier test may have set it up; pytest's own handlers have no name.
    root.handlers[:] = [handler for handler in handlers if handler.get_name() is None]
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    ours.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_elsewhere_than_on_a_terminal_each_event_is_an_object_of_json() -> None:
    stream = io.StringIO()
    set_up_log(stream=stream)
    log.warning("it broke", where="here", number=3)
    (line,) = lines(stream)
    assert str(line.pop("timestamp")).endswith("Z")
    expected = {"event": "it broke", "level": "warning", "logger": "argo_mw"}
    assert {**expected, "where": "here", "number": 3} == line


def test_on_a_terminal_it_is_a_line_in_colour() -> None:
    stream = Terminal()
    set_up_log(stream=stream)
    log.warning("it broke", where="here")
    assert "\x1b[" in stream.getvalue()
    assert 1 == stream.getvalue().count("\n")


def test_text_that_goes_into_a_file_has_no_colour() -> None:
    stream = io.StringIO()
    set_up_log("text", stream=stream)
    log.warning("it broke", where="here")
    assert "\x1b[" not in stream.getvalue()
    assert "it broke" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_error_has_its_traceback_and_json_stays_one_line(form: str) -> None:
    stream = io.StringIO()
    set_up_log(form, stream=stream)  # type: ignore[arg-type]
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("it broke")
    assert "ValueError: first" in stream.getvalue()
    if form == "json":
        (line,) = lines(stream)
        assert "\n" in str(line["exception"])


def test_events_say_which_span_they_happen_in() -> None:
    stream = io.StringIO()
    set_up_log("json", stream=stream)
    with TracerProvider().get_tracer("test").start_as_current_span("mine") as span:
        log.warning("inside")
        logging.getLogger("library").warning("also inside")
    log.warning("outside")
    inside, also, outside = lines(stream)
    context = span.get_span_context()
    ids = (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert ids == (inside["trace_id"], inside["span_id"]) == (also["trace_id"], also["span_id"])
    assert "trace_id" not in outside


def test_without_opentelemetry_nothing_is_imported_for_traces() -> None:
    program = (
        "import sys; from argo_mw.plugin import Log, set_up_log; set_up_log();"
        "Log('argo_mw').warning('fine'); assert 'opentelemetry' not in sys.modules"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "" == ended.stdout
    assert "fine" == json.loads(ended.stderr)["event"]


def test_what_other_libraries_log_is_in_the_same_form_and_safe() -> None:
    stream = io.StringIO()
    set_up_log("json", stream=stream)
    Secret("hunter2-hunter2")
    other = logging.getLogger("library")
    other.info("chatter")
    try:
        raise ValueError("the key hunter2-hunter2 is wrong")
    except ValueError:
        other.exception("failed for %s", "hunter2-hunter2\nFORGED")
    (line,) = lines(stream)
    assert "hunter2" not in stream.getvalue()
    assert "\n" not in str(line["event"])
    assert ("error", "library") == (line["level"], line["logger"])


def test_from_which_level_on_the_framework_is_heard_can_be_chosen() -> None:
    stream = io.StringIO()
    set_up_log("json", level="debug", stream=stream)
    log.debug("more")
    set_up_log("json", level="WARNING", stream=stream)
    log.info("less")
    assert ["more"] == [line["event"] for line in lines(stream)]


def test_called_again_it_replaces_what_it_did_before() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up_log("json", stream=first)
    set_up_log("json", stream=second)
    log.warning("once")
    assert ([], 1) == (lines(first), len(lines(second)))


@pytest.mark.parametrize(
    ("asked", "expected"), [("json", "json"), ("text", "text"), ("auto", "json")]
)
def test_the_form_of_the_log_can_be_asked_for(
    asked: Literal["auto", "json", "text"], expected: str
) -> None:
    assert log_form() is None
    set_up_log(asked, stream=io.StringIO())
    assert expected == log_form()


def test_standard_error_is_what_it_is_at_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up_log("json")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log.warning("there")
    assert 1 == len(lines(stream))


@pytest.mark.parametrize("wrong", [{"form": "xml"}, {"level": "loud"}, {"level": None}])
def test_what_there_is_not_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadParameter, match="ask for"):
        set_up_log(**wrong)  # type: ignore[arg-type]
