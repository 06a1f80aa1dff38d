"""What a killed process loses: signals are given in a process that is killed with the last of them.

A program of its own: ``python -m argo_mw_compare.scenarios.crash SERVICE FOLDER``. It notes each
signal once its caller has it, and once it is known to be on disk, in a file that outlives it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

from argo_mw_compare.history import INSERT, TABLE, row
from argo_mw_compare.scenarios.given_signals import Desk, GivenSignal
from argo_mw_compare.scenarios.service import service

Service = Literal["original", "chained"]

_SIGNALS: Final = 300
_EVERY: Final = 0.005
_LAYERS: Final = ("persist", "signals")
_FILE, _NOTES = "signals.db", "notes"
_GIVEN, _SAFE = b"g", b"s"

Note = Callable[[bytes], object]


@frozen
class Killed:
    """What was left of a killed process.

    Attributes:
        given: Signals that their callers had.
        safe: Those that were known to be on disk.
        stored: Those that are in the file.
    """

    given: int
    safe: int
    stored: int

    @property
    def lost(self) -> int:
        """Signals that their callers had, and that are not in the file."""
        return self.given - self.stored

    @property
    def safe_lost(self) -> int:
        """Signals that were said to be on disk, and are not."""
        return max(0, self.safe - self.stored)


def killed(which: Service, folder: Path) -> Killed:
    """Run the service *which* in *folder* until it is killed; return what was left."""
    folder.mkdir(mode=0o700)
    command = [sys.executable, "-m", "argo_mw_compare.scenarios.crash", which, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own)
    if done.returncode != -signal.SIGKILL:
        msg = f"the process ended before it was killed: {done.stderr.strip()}"
        raise RuntimeError(msg)
    notes = (folder / _NOTES).read_bytes()
    with closing(sqlite3.connect(folder / _FILE)) as rows:
        [(stored,)] = rows.execute("SELECT count(*) FROM signals").fetchall()
    return Killed(notes.count(_GIVEN), notes.count(_SAFE), stored)


async def _original(folder: Path, note: Note) -> None:
    drawn = random.Random(1)
    with closing(sqlite3.connect(folder / _FILE)) as rows:
        rows.execute("PRAGMA journal_mode=WAL")
        rows.execute(TABLE)
        for number in range(_SIGNALS):
            with rows:
                rows.execute(INSERT, row(*_signal(number, drawn)))
            note(_GIVEN + _SAFE)
            await asyncio.sleep(_EVERY)
        _die()


async def _chained(folder: Path, note: Note) -> None:
    tables = {"persist": {"url": f"sqlite:///{folder / _FILE}"}}
    receipts: list[Awaitable[str]] = []
    waiting: set[asyncio.Task[None]] = set()

    async def acknowledge(receipt: Awaitable[str]) -> None:
        await receipt
        note(_SAFE)

    plugins = {"desk": Desk(_signal)}
    async with service(folder / "state", _LAYERS, plugins=plugins, tables=tables) as argo:
        caller = argo.options(extensions={"persist.receipts": receipts})
        for number in range(_SIGNALS):
            await caller.call("given_signal", number=number)
            note(_GIVEN)
            waiting |= {asyncio.create_task(acknowledge(one)) for one in receipts}
            receipts.clear()
            if number + 1 < _SIGNALS:
                await asyncio.sleep(_EVERY)
        _die()


def _signal(number: int, drawn: random.Random) -> GivenSignal:
    action = drawn.choice(("BUY", "SELL", "HOLD"))
    return f"SYN{number % 50:03d}", action, 0.5, 1_700_000_000.0 + number, 100.0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(which: str, folder: str) -> None:
    """Run the service *which* in *folder* until it kills itself."""
    path = Path(folder)
    notes = os.open(path / _NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    run = _original if which == "original" else _chained
    asyncio.run(run(path, lambda mark: os.write(notes, mark)))


if __name__ == "__main__":
    main(*sys.argv[1:])
