"""Several processes that ask the same question at once, of one store."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from attrs import define

PROCESSES = 8
CALLERS = 200


@define
class Worker:
    """One of the processes."""

    process: subprocess.Popen[str]

    def write(self, word: str) -> None:
        """Write *word* to the standard input of the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def read(self) -> str:
        """Return the next line of the process; "" once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Kill the process, if it runs, and wait for its end."""
        self.process.kill()
        self.process.communicate()


def start(store: str, state: Path, *, callers: int = CALLERS, takes: float = 0.2) -> Worker:
    """Start a process with an open application on *store* and *callers* callers."""
    program = Path(__file__).with_name("worker.py")
    command = [sys.executable, str(program), store, str(callers), str(takes)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"ARGO_MW_STATE_DIR": str(state), "PATH": ""},
    )
    worker = Worker(process)
    if worker.read() != "ready":
        worker.end()
        msg = "a process did not start"
        raise RuntimeError(msg)
    return worker


async def ask_at_once(store: str, state: Path, symbol: str) -> tuple[int, int]:
    """Return the loads made and callers answered when all processes ask for *symbol* at once."""
    workers = [start(store, state) for _ in range(PROCESSES)]
    try:
        for worker in workers:
            worker.write(symbol)
        lines = await asyncio.gather(*(asyncio.to_thread(worker.read) for worker in workers))
    finally:
        for worker in workers:
            worker.end()
    reports = [json.loads(line) for line in lines]
    return sum(r["loads"] for r in reports), sum(r["answered"] for r in reports)
