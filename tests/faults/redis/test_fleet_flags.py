"""A kill reaches every process of a fleet on a real Redis, and outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field

from argo_mw.plugin import flags_of
from argo_mw_redis.testing import RealServer, StartServer
from tests.faults.redis.fleet_member import LAYERS, open_member

PROCESSES = 8
MACHINES = 2
WITHIN = 1.0
"""Seconds within which a kill reaches every process."""

PATIENCE = 60.0
"""Seconds within which a busy machine gets everything done."""

ROOT = Path(__file__).parents[3]


@define(eq=False)
class Member:
    """A process of the fleet."""

    process: subprocess.Popen[bytes]
    marks: list[str] = field(factory=list)
    at: float = 0.0

    def hear(self) -> list[str]:
        """Wait for other marks on the process's answers than before, and return them."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.process.send_signal(signal.SIGUSR1)  # it says what it is doing
            time.sleep(1.0)
            pytest.fail(f"the marks are still {self.marks} after {PATIENCE:g} s")
        line = self.process.stdout.readline()
        assert line, "the process has ended"
        heard = json.loads(line)
        self.marks, self.at = heard["marks"], heard["at"]
        return self.marks

    def hear_without(self, mark: str) -> float:
        """Wait until the answers are without *mark*; return when that was."""
        while not self.at or mark in self.marks:
            self.hear()
        return self.at


@contextlib.contextmanager
def fleet(url: str, directory: Path, count: int = PROCESSES) -> Iterator[list[Member]]:
    """Start *count* processes on machines of their own."""
    environment = {k: v for k, v in os.environ.items() if k != "ARGO_MW_STATE_DIR"}
    command = [sys.executable, "-m", "tests.faults.redis.fleet_member", url]
    members = [
        Member(
            subprocess.Popen(
                [*command, str(directory / f"machine-{number % MACHINES}")],
                stdout=subprocess.PIPE,
                bufsize=0,  # nothing that came is hidden in a buffer from select
                env=environment,
                cwd=ROOT,
            )
        )
        for number in range(count)
    ]
    try:
        yield members
    finally:
        for member in members:
            member.process.kill()
            member.process.communicate()


@pytest.fixture(autouse=True)
def own_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARGO_MW_STATE_DIR", raising=False)


async def test_a_kill_reaches_eight_processes_within_a_second(
    server: RealServer, tmp_path: Path
) -> None:
    """With all that the layer has served; a busy machine may need more than one attempt."""
    slowest = []
    with fleet(server.url, tmp_path) as members:
        assert [LAYERS] * PROCESSES == [member.hear() for member in members]
        async with open_member(server.url, str(tmp_path / "own")) as argo:
            for layer in LAYERS:
                began = time.time()
                assert await flags_of(argo).kill(layer, fleet=True)
                slowest.append(max(member.hear_without(layer) for member in members) - began)
                if slowest[-1] < WITHIN:
                    return
    pytest.fail(f"a kill took {min(slowest):.2f} s at best")


async def test_a_rollback_outlives_a_redis_that_dies_and_a_restart_of_everything(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    layer, *others = LAYERS
    with fleet(server.url, tmp_path, 2) as members:
        assert [LAYERS] * 2 == [member.hear() for member in members]
        async with open_member(server.url, str(tmp_path / "machine-0")) as argo:
            await argo.roll_back(layer, "it marks", fleet=True)
        for member in members:
            member.hear_without(layer)
    server.kill()
    with fleet(server.url, tmp_path, 2) as members:  # the store is away
        assert [others] * 2 == [member.hear() for member in members]
        server.start()  # it has lost everything
        async with open_member(server.url, str(tmp_path / "machine-1")) as argo:
            assert "it marks" == flags_of(argo).all[layer].rule.rolled_back
        with fleet(server.url, tmp_path / "new", 1) as [member]:
            assert others == member.hear()


async def test_a_kill_reaches_processes_whose_user_has_no_channels(
    server: RealServer, tmp_path: Path
) -> None:
    """They read the flags twice a second."""
    server.allow("app", "~* resetchannels +@all")
    slowest = []
    with fleet(server.url_of("app"), tmp_path, 2) as members:
        assert [LAYERS] * 2 == [member.hear() for member in members]
        async with open_member(server.url_of("app"), str(tmp_path / "own")) as argo:
            for layer in LAYERS:
                began = time.time()
                assert not await flags_of(argo).kill(layer, fleet=True)
                slowest.append(max(member.hear_without(layer) for member in members) - began)
                if slowest[-1] < WITHIN:
                    return
    pytest.fail(f"a kill took {min(slowest):.2f} s at best")


def test_the_command_does_it_too(server: RealServer, tmp_path: Path) -> None:
    (tmp_path / "argo.toml").write_text(
        f'[argo]\nshared = "{server.url}"\nstate_dir = "{tmp_path / "operator"}"\n'
    )
    command = [sys.executable, "-m", "argo_mw", "flags"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*command, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    pytest.importorskip("argo_mw_coalesce")
    assert "coalesce: killed (set by fleet)" in run("kill", "coalesce", "--fleet")
    other = tmp_path / "other"
    other.mkdir()
    (other / "argo.toml").write_text(
        f'[argo]\nshared = "{server.url}"\nstate_dir = "{other / "state"}"\n'
    )
    listed = subprocess.run(
        [*command, "list", "--json"], cwd=other, check=True, capture_output=True, text=True
    )
    rows = {row["flag"]: row for row in json.loads(listed.stdout)}
    assert ("killed", "fleet") == (rows["coalesce"]["rule"], rows["coalesce"]["set by"])
    assert "coalesce: on (set by default)" in run("revive", "coalesce", "--fleet")
