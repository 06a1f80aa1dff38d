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
    """One process of the fleet."""

    process: subprocess.Popen[str]

    def say(self, word: str) -> None:
        """Give the process a word on its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """The process's next line; "" once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Kill the process, if it runs, and wait for its end."""
        self.process.kill()
        self.process.communicate()


def start(store: str, state: Path, *, callers: int = CALLERS, takes: float = 0.2) -> Worker:
    """A process with an open application on *store*, ready to ask with *callers* callers."""
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
    if worker.hear() != "ready":
        worker.end()
        msg = "a process of the fleet did not start"
        raise RuntimeError(msg)
    return worker


async def ask_at_once(store: str, state: Path, symbol: str) -> tuple[int, int]:
    """Loads made and callers answered when the whole fleet asks for *symbol* at once."""
    workers = [start(store, state) for _ in range(PROCESSES)]
    try:
        for worker in workers:
            worker.say(symbol)
        told = await asyncio.gather(*(asyncio.to_thread(worker.hear) for worker in workers))
    finally:
        for worker in workers:
            worker.end()
    reports = [json.loads(line) for line in told]
    return sum(r["loads"] for r in reports), sum(r["answered"] for r in reports)
