"""How a command ends when a signal arrives."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from argo_mw.cli import ending_signals

HANGS = 60.0
WAITS = """
import asyncio
import signal
from argo_mw.cli.ending import run_to_its_end

async def main():
    try:
        print("ready", flush=True)
        await asyncio.Event().wait()
    finally:
        print("closed")
        {then}

{first}
run_to_its_end(main())
print("went on")
"""


def ended(
    *arriving: signal.Signals, first: str = "", then: str = "pass", out: int = subprocess.PIPE
) -> tuple[str, int]:
    """Return what a program has printed, and its return code, which signals have ended."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITS.format(first=first, then=then)],
        stdout=out,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        assert program.stdout is not None
        said = program.stdout.readline()
        for one in arriving:
            program.send_signal(one)
            said += program.stdout.readline()
        return said + program.communicate(timeout=HANGS)[0], program.returncode


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_closes_before_a_signal_ends_it(end: signal.Signals) -> None:
    assert ("ready\nclosed\n", -end) == ended(end)


def test_a_second_signal_ends_a_command_at_once() -> None:
    hangs = "print(flush=True); await asyncio.Event().wait()"
    said = ended(signal.SIGHUP, signal.SIGTERM, then=hangs)
    assert -signal.SIGTERM == said[1]
    assert "went on" not in said[0]


def test_a_command_for_which_a_signal_is_ignored_goes_on() -> None:
    """As `nohup` does it."""
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    program = WAITS.replace("await asyncio.Event().wait()", "signal.raise_signal(signal.SIGHUP)")
    done = subprocess.run(
        [sys.executable, "-c", program.format(first=ignored, then="pass")],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    assert "ready\nclosed\nwent on\n" == done.stdout


def test_a_command_returns_what_it_has_found() -> None:
    program = "import asyncio\nfrom argo_mw.cli.ending import run_to_its_end\n"
    program += "print(run_to_its_end(asyncio.sleep(0, 'found')))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=HANGS, check=True
    )
    assert "found\n" == done.stdout


async def test_a_command_that_ends_by_itself_hears_each_signal() -> None:
    told: asyncio.Queue[None] = asyncio.Queue()
    with ending_signals(lambda: told.put_nowait(None)):
        for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            signal.raise_signal(one)
            await told.get()
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP)
    assert told.empty()


async def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals(lambda: pytest.fail("it was told")):
            signal.raise_signal(signal.SIGHUP)
            assert signal.SIG_IGN is signal.getsignal(signal.SIGHUP)
        assert signal.SIG_IGN is signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
