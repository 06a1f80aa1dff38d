"""``argo-mw fleet``, and ``--on`` of other commands."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from distributed import Scheduler

from argo_mw import Argo
from argo_mw.cli import spread
from argo_mw.plugin import ConfigError, NotFound
from argo_mw_fleet import FleetUnavailable, open_fleet
from argo_mw_fleet.commands import fleet

from .conftest import until

WORKER = """
import sys
from argo_mw_fleet.commands import fleet
fleet(sys.argv[1:])
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(fleet, arguments)


@asynccontextmanager
async def a_worker(folder: Path, url: str, name: str) -> AsyncIterator[Process]:
    """Run ``argo-mw fleet worker`` in a process, from when it works on until it has stopped."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, "worker", url, "--name", name, stderr=PIPE
    )
    assert process.stderr is not None
    try:
        while f"worker {name} works at tcp://127.0.0.1:" not in (
            line := (await process.stderr.readline()).decode()
        ):
            assert line, "the worker ended"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_workers_are_started_listed_asked_and_stopped(installed: Path) -> None:
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        url = scheduler.address.replace("tcp://", "dask://")
        none_there = await asyncio.to_thread(status, url)
        assert (1, []) == (none_there.exit_code, json.loads(none_there.stdout))
        assert "there are no workers" in str(none_there.exception)
        async with (
            a_worker(installed, url, "east") as worker,
            Argo.open() as argo,
        ):
            listed = json.loads((await asyncio.to_thread(status, url)).stdout)
            assert ["east"] == [one["name"] for one in listed]
            async with open_fleet(argo, url) as found:
                answers = await found.map("price", ["X", "BAD"])
            assert worker.pid == answers["X"].value["pid"]  # type: ignore[union-attr, index]
            assert isinstance(answers["BAD"], NotFound)
            async with spread(argo, url) as everywhere:
                assert {"X", "Y"} == set(await everywhere.map("price", ["X", "Y"]))
            worker.send_signal(signal.SIGTERM)
            assert 0 == await worker.wait()
            assert {} == dict(scheduler.workers)


async def test_a_caller_whose_scheduler_goes_hears_of_it_at_once(installed: Path) -> None:
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        url = scheduler.address.replace("tcp://", "dask://")
        async with (
            a_worker(installed, url, "east"),
            Argo.open() as argo,
            open_fleet(argo, url) as found,
            asyncio.timeout(20),
        ):
            async with found.each("slow", ["X"], seconds=100.0) as answers:
                notes = installed / "notes.txt"
                await until(lambda: notes.exists() and "begun X" in notes.read_text())
                await scheduler.close()
                with pytest.raises(FleetUnavailable):
                    await anext(answers)
            with pytest.raises(FleetUnavailable, match="the connection was lost"):
                await found.map("price", ["Y"])


async def test_a_worker_ends_with_its_scheduler(installed: Path) -> None:
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        url = scheduler.address.replace("tcp://", "dask://")
        async with a_worker(installed, url, "east") as worker:
            await scheduler.close()
            assert 1 == await worker.wait()


async def test_a_second_worker_of_one_name_is_refused_and_says_why(installed: Path) -> None:
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        url = scheduler.address.replace("tcp://", "dask://")
        async with a_worker(installed, url, "east"):
            refused = await begun(url)
            _, said = await refused.communicate()
    assert 1 == refused.returncode
    assert b"it has a worker east already; give each --name once" in said


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
async def test_a_worker_that_looks_for_its_scheduler_stops_at_a_signal(
    installed: Path, end: signal.Signals
) -> None:
    came, left = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()
        left.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1") as nobody:
        looking = await begun(f"dask://127.0.0.1:{nobody.sockets[0].getsockname()[1]}")
        async with asyncio.timeout(60):
            await came.wait()
        looking.send_signal(end)
        assert (b"", 0) == ((await looking.communicate())[1], looking.returncode)
        await left.wait()


async def test_a_scheduler_that_others_reach_without_certificates_is_refused(installed) -> None:
    """Dask listens for everyone by default, also when this program reaches it by loopback."""
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        identity = scheduler.handlers["identity"]
        beyond = "tcp://10.1.0.1:8786"
        scheduler.handlers["identity"] = lambda **given: {**identity(**given), "address": beyond}
        url = scheduler.address.replace("tcp://", "dask://")
        looked = await asyncio.to_thread(status, url)
        assert (1, ConfigError) == (looked.exit_code, type(looked.exception))
        assert f"listens at {beyond} too, without certificates" in str(looked.exception)
        refused = await begun(url)
        _, said = await refused.communicate()
        assert b"`--host tcp://127.0.0.1`" in said
        assert 1 == refused.returncode
        assert {} == dict(scheduler.workers)


async def test_a_worker_gives_up_a_scheduler_that_is_not_there(installed: Path) -> None:
    with (installed / "argo.toml").open("a") as file:
        file.write("[plugins.fleet]\nconnect_timeout = 0.5\n")
    looking = await begun("dask://127.0.0.1:1")
    _, said = await looking.communicate()
    assert 1 == looking.returncode
    assert b"the scheduler tcp://127.0.0.1:1 was not reached in 0.5 s" in said


async def begun(url: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, "worker", url, "--name", "east", stderr=PIPE
    )


def status(url: str) -> Result:
    return CliRunner().invoke(fleet, ("status", url, "--json"))


def test_a_scheduler_beyond_this_machine_is_refused_without_certificates(installed: Path) -> None:
    for arguments in (("status", "dask://10.0.0.1:8786"), ("worker", "dask://10.0.0.1:8786")):
        result = run(*arguments)
        assert 1 == result.exit_code
