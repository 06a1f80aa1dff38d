"""What upstreams write reaches no terminal and no log as more than what is seen."""

from __future__ import annotations

import ast
import io
import logging
import unicodedata
from collections.abc import Iterator

import click
import pytest
import structlog
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from argo_mw import ArgoError, UpstreamError
from argo_mw.base.printable import printable
from argo_mw.cli import console, echo, print_json, say
from argo_mw.cli.group import Failed
from argo_mw.plugin import Log
from tests.hostile.patterns import ROOT

EVIL = (
    "fine\x1b]0;TITLE\x07\x1b[2J\x9b31m\rOVER\x08\x7f\u202egnihtemos\u2066\u200b\u2028two"
    "\nERROR forged\U000e0041\x00"
)
HARMLESS = "Ærø 東京 👩\u200d💻 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 $5 naïve"
OBEYED = frozenset("\t\n")


def dangerous(text: str) -> set[str]:
    """Return the characters of *text* that a terminal obeys, or that cannot be seen or written."""
    return {
        char
        for char in text
        if char not in OBEYED | {"\u200c", "\u200d"}
        and (unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or _directs(char))
    }


def _directs(char: str) -> bool:
    signs = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return unicodedata.bidirectional(char) in signs or char in "\u200b\u200e\u200f\u061c\ufeff"


@given(st.text())
def test_nothing_dangerous_is_left(text: str) -> None:
    assert set() == dangerous(printable(text))
    assert not OBEYED & set(printable(text))
    assert set() == dangerous(printable(text, lines=True))
    assert printable(text) == printable(printable(text))


def test_what_can_be_seen_stays_as_it_is() -> None:
    assert HARMLESS == printable(HARMLESS)
    assert "a\tb\nc\n" == printable("a\tb\r\nc\n", lines=True)
    assert r"\x1b[2J a\nb" == printable("\x1b[2J a\nb")


def test_every_character_is_judged() -> None:
    left = {char for char in map(chr, range(0x110000)) if dangerous(printable(char))}
    assert set() == left


@click.command()
def show() -> None:
    """Print the worst in every way that commands have."""
    table = Table(EVIL, title=EVIL, caption=EVIL)
    table.add_row(EVIL)
    console().print(table)
    console().print(EVIL)
    console(stderr=True).print(EVIL)
    echo(EVIL)
    echo(EVIL, nl=False, err=True)
    say(EVIL)
    print_json({EVIL: EVIL})
    raise Failed(EVIL)


def test_no_command_shows_what_a_terminal_obeys() -> None:
    result = CliRunner().invoke(show)
    assert 1 == result.exit_code
    assert r"\x1b[2J" in result.stdout
    assert set() == dangerous(result.stdout + result.stderr)


def test_styles_still_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    made = console()
    made.file = io.StringIO()
    made.print("red", style="red")
    assert "\x1b[31mred\x1b[0m\n" == made.file.getvalue()


def test_only_one_module_prints() -> None:
    allowed = {"argo_mw/cli/output.py"}
    found = [
        f"{name}:{node.lineno}"
        for path in (*ROOT.glob("argo_mw/**/*.py"), *ROOT.glob("plugins/*/argo_mw_*/**/*.py"))
        if (name := path.relative_to(ROOT).as_posix()) not in allowed
        # The sandbox's own processes print their address, for who has started them.
        and not name.endswith(("/__main__.py", "/sandbox/argo_mw_sandbox/serve.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and _prints(node.func)
    ]
    assert [] == found


def _prints(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in {"print", "Console"}
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and (function.value.id, function.attr) in {("click", "echo"), ("click", "secho")}
    )


def test_an_error_s_message_is_fit_to_be_shown() -> None:
    assert set() == dangerous(str(ArgoError(EVIL)))
    assert "two\nlines" == str(ArgoError("two\nlines"))
    assert "\n" not in str(UpstreamError(EVIL, upstream="u"))
    assert set() == dangerous(str(UpstreamError(EVIL, upstream="u")))
    assert 1000 == len(str(UpstreamError(EVIL * 100_000, upstream="u")))


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("argo_mw.hostile")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def _log_everything() -> None:
    log = Log("argo_mw.hostile")
    log.warning(EVIL, field=EVIL, error=ValueError(EVIL))
    try:
        raise ValueError(EVIL)
    except ValueError:
        log.exception(EVIL, field=EVIL)


def _begins_a_line(output: str) -> bool:
    return any(line.startswith("ERROR forged") for line in output.splitlines())


def test_no_log_line_is_forged(logged: io.StringIO) -> None:
    _log_everything()
    output = logged.getvalue()
    assert set() == dangerous(output)
    assert not _begins_a_line(output)
    assert output.startswith("WARNING fine")
    assert "  Traceback (most recent call last):" in output


def test_no_structured_event_is_forged(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.dev.ConsoleRenderer(colors=False),
            ],
            logger_factory=structlog.PrintLoggerFactory(),
        )
        _log_everything()
    finally:
        structlog.reset_defaults()
    output = capsys.readouterr().out
    assert set() == dangerous(output)
    assert not _begins_a_line(output)
    assert "  Traceback (most recent call last):" in output


def test_a_record_says_where_it_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    _log_everything()
    assert ["_log_everything"] * 2 == [record.funcName for record in caplog.records]
    assert ["test_printable.py"] * 2 == [record.filename for record in caplog.records]
    assert caplog.records[1].exc_info is not None
