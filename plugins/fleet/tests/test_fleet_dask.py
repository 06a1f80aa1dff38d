"""Real workers of Dask, in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from distributed.security import Security

from argo_mw import Argo, Outcome, QuotaExceeded
from argo_mw.plugin import Closed, ConfigError, NotFound, set_up_log
from argo_mw_fleet import (
    FleetConfig,
    FleetPlugin,
    FleetUnavailable,
    WorkerNow,
    open_fleet,
    place,
)
from argo_mw_fleet.dask_engine import connected, heard_of
from argo_mw_fleet.reach import reach

from .conftest import until

SYMBOLS = [f"S{number}" for number in range(60)]


@contextlib.asynccontextmanager
async def application(folder: Path) -> AsyncIterator[Argo]:
    """Open an application with a file that workers read too."""
    async with Argo.open(folder / "argo.toml") as argo:
        yield argo


def notes(folder: Path, what: str) -> list[tuple[str, int]]:
    """What the workers' upstreams have written down: subjects and processes."""
    file = folder / "notes.txt"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(line[1], int(line[2])) for line in lines if line[0] == what]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_local_workers_answer_together(installed: Path) -> None:
    """Placed, gathered, limited together, left when the caller leaves, and gone at the end."""
    async with application(installed) as argo:
        async with open_fleet(argo, "local:2") as fleet:
            found: Any = await fleet.map("price", [*SYMBOLS, "BAD"])
            assert isinstance(found.pop("BAD"), NotFound)
            by_process = Counter(one.value["pid"] for one in found.values())
            placed = place((*SYMBOLS, "BAD"), ("local-0", "local-1"))
            expected = sorted(len([s for s in share if s != "BAD"]) for share in placed.values())
            assert expected == sorted(by_process.values())
            assert os.getpid() not in by_process
            # Each worker's share went to the vendor in a request or two.
            assert len(notes(installed, "batch")) <= 4
            again: Any = await fleet.map("price", SYMBOLS)
            assert {s: found[s].value["pid"] for s in SYMBOLS} == {
                s: again[s].value["pid"] for s in SYMBOLS
            }

            scarce = await fleet.map("scarce", SYMBOLS)
            kinds = Counter(type(one) for one in scarce.values())
            assert {Outcome: 5, QuotaExceeded: len(SYMBOLS) - 5} == dict(kinds)

            async with fleet.each("slow", SYMBOLS, seconds=100.0):
                await until(lambda: len(notes(installed, "begun")) == len(SYMBOLS))
            await until(lambda: len(notes(installed, "cancelled")) == len(SYMBOLS))
        await until(lambda: not any(map(is_running, by_process)))
        with pytest.raises(Closed, match="the fleet is closed"):
            await fleet.map("price", SYMBOLS)


async def test_local_workers_run_nothing_that_lies_where_a_program_is_started(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They import what the program can import, and it need not be able to import that."""
    folder = installed / "somebodys"
    folder.mkdir()
    (folder / "distributed.py").write_text("open('ran', 'w')")
    (folder / "argo.toml").write_text((installed / "argo.toml").read_text())
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    monkeypatch.chdir(folder)
    async with application(folder) as argo, open_fleet(argo, "local:1") as fleet:
        assert isinstance((await fleet.map("price", ["X"]))["X"], Outcome)
    assert not (folder / "ran").exists()


@pytest.fixture
def as_json() -> Iterator[None]:
    """Log as ``argo-mw --log json`` does."""
    root, ours = logging.getLogger(), logging.getLogger("argo_mw")
    handlers, level = list(root.handlers), ours.level
    set_up_log("json", level="WARNING")
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    ours.setLevel(level)


@pytest.mark.usefixtures("as_json")
async def test_local_workers_log_in_the_form_of_their_program(
    installed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with application(installed) as argo, open_fleet(argo, "local:1") as fleet:
        assert isinstance((await fleet.map("price", ["ODD"]))["ODD"], Outcome)
    written = capfd.readouterr().err.splitlines()
    logged = [json.loads(line) for line in written if "an odd symbol" in line]
    assert [("warning", "ODD")] == [(line["level"], line["symbol"]) for line in logged]


async def test_what_the_program_can_import_its_local_workers_can(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fleet_toys

    assert installed / "fleet_toys.py" == Path(fleet_toys.__file__)
    searched = os.environ["PYTHONPATH"].split(":")
    monkeypatch.setenv("PYTHONPATH", ":".join(one for one in searched if one != str(installed)))
    async with application(installed) as argo, open_fleet(argo, "local:1") as fleet:
        assert isinstance((await fleet.map("price", ["X"]))["X"], Outcome)


async def test_a_local_fleet_that_finds_no_room_says_so(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    async with application(installed) as argo:
        with pytest.raises(FleetUnavailable, match="on this machine: .*No space left"):
            async with open_fleet(argo, "local:1"):
                pass


async def test_a_worker_that_is_killed_leaves_no_subject_without_an_answer(installed: Path) -> None:
    async with application(installed) as argo, open_fleet(argo, "local:2") as fleet:
        seen: Counter[str] = Counter()
        victim = 0
        async with fleet.each("slow", SYMBOLS, seconds=1.0) as answers:
            await until(lambda: len(notes(installed, "begun")) == len(SYMBOLS))
            victim = notes(installed, "begun")[0][1]
            os.kill(victim, signal.SIGKILL)
            async for symbol, answer in answers:
                assert isinstance(answer, Outcome), answer
                assert victim != answer.value["pid"]  # type: ignore[index]
                seen[symbol] += 1
        assert dict.fromkeys(SYMBOLS, 1) == dict(seen)
        assert 1 == len(await fleet.workers())
        assert all(isinstance(a, Outcome) for a in (await fleet.map("price", SYMBOLS)).values())


PROGRAM = """
import asyncio
from argo_mw import Argo
from argo_mw_fleet import open_fleet

async def main():
    async with Argo.open() as argo, open_fleet(argo, "local:1") as fleet:
        answers = await fleet.map("price", ["X"])
        print(answers["X"].value["pid"], flush=True)
        await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_local_workers_end_with_their_program(installed: Path) -> None:
    """Also one without ``if __name__ == "__main__"``, and with a signal that nothing can handle."""
    (installed / "program.py").write_text(PROGRAM)
    process = await asyncio.create_subprocess_exec(sys.executable, "program.py", stdout=PIPE)
    assert process.stdout is not None
    worker = int(await process.stdout.readline())
    assert is_running(worker)
    process.kill()
    await process.wait()
    await until(lambda: not is_running(worker))


async def test_a_local_worker_whose_program_dies_while_it_starts_ends_too(installed: Path) -> None:
    came = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()

    security = Security.temporary()
    files = ("tls_ca_file", "tls_worker_cert", "tls_worker_key")
    async with await asyncio.start_server(say_nothing, "127.0.0.1") as nobody:
        told = {
            "address": f"tls://127.0.0.1:{nobody.sockets[0].getsockname()[1]}",
            "security": {name: getattr(security, name) for name in files},
            "path": sys.path,
            "config": "argo.toml",
            "name": "local-0",
            "connect_timeout": 1000.0,
            "slots": 1,
            "log": "text",
            "level": 30,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "argo_mw_fleet", stdin=PIPE
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        async with asyncio.timeout(60):
            await came.wait()
        process.stdin.close()
        assert 0 == await process.wait()


async def test_a_local_worker_whose_program_died_before_it_began_ends(installed: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "argo_mw_fleet", stdin=PIPE, stderr=PIPE
    )
    assert (None, b"") == await process.communicate(b"")


def test_a_worker_counts_as_silent_by_what_the_scheduler_heard_of_others() -> None:
    def heard(**seen: float) -> list[str]:
        workers = [WorkerNow(name, f"tls://{name}", seen=when) for name, when in seen.items()]
        return [one.name for one in heard_of(workers, 30.0)]

    assert ["a", "b"] == heard(b=1000.0, a=970.5)
    assert ["b"] == heard(b=1000.0, a=969.0)
    assert ["a"] == heard(a=5.0)
    assert [] == heard()


async def test_a_configuration_that_no_other_process_can_read_is_refused() -> None:
    plugins = {"fleet": FleetPlugin()}
    async with Argo.open(
        {"argo": {"shared": "memory://"}}, plugins=plugins, installed=False
    ) as argo:
        with pytest.raises(ConfigError, match=r"the path of an argo\.toml"):
            async with open_fleet(argo, "local:2"):
                pass
        for on in ("local:0", "local:x", "local:1000", "local:"):
            with pytest.raises(ConfigError, match="local:N"):
                async with open_fleet(argo, on):
                    pass


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """The certificates of a fleet, and of somebody else."""
    found = {}
    for whose in ("fleet", "stranger"):
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(
            found.setdefault(f"{whose}_ca", tmp_path / f"{whose}_ca.pem")
        )
        issued.private_key_pem.write_to_path(
            found.setdefault(f"{whose}_key", tmp_path / f"{whose}_key.pem")
        )
        issued.cert_chain_pems[0].write_to_path(
            found.setdefault(f"{whose}_certificate", tmp_path / f"{whose}.pem")
        )
    return found


async def test_a_scheduler_with_certificates_lets_nobody_in_without(
    installed: Path, certificates: dict[str, Path]
) -> None:
    from distributed import Scheduler

    def config(whose: str) -> FleetConfig:
        return FleetConfig(
            tls_ca=certificates["fleet_ca"],
            tls_certificate=certificates[f"{whose}_certificate"],
            tls_key=certificates[f"{whose}_key"],
            connect_timeout=5.0,
        )

    security = reach("dask://127.0.0.1", config("fleet")).security
    async with Scheduler(
        host="127.0.0.1",
        port=0,
        protocol="tls://",
        security=security,
        dashboard_address="127.0.0.1:0",
    ) as scheduler:
        url = scheduler.address.replace("tls://", "dask://")
        async with connected(reach(url, config("fleet")), config("fleet")) as engine:
            assert {} == await engine.workers()
        for other in (config("stranger"), FleetConfig(connect_timeout=5.0)):
            with pytest.raises(FleetUnavailable, match="cannot be reached"):
                async with connected(reach(url, other), other):
                    pass
