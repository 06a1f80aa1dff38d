"""``argo-mw dashboard`` and ``argo-mw demo --watch``, as processes of their own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path

import httpx2
import pytest

from argo_mw.testing.shared import eventually

from .conftest import events

pytestmark = pytest.mark.skipif(
    not entry_points(group="argo_mw", name="dashboard"),
    reason="needs `pip install -e plugins/dashboard`",
)


HANGS = 120.0
"""Seconds after which a command hangs: on a busy machine, each takes half a minute to start and to end."""
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/#token=\S+(?=\s)")


@asynccontextmanager
async def running(said: Path, *words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run ``argo-mw`` with *words*; give the process and the address that it prints.

    It writes into the file *said*: nobody reads a pipe to its end, and the process would wait for
    that. Nothing that it has started outlives this.
    """
    with said.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "argo_mw",
            *words,
            stdout=output,
            stderr=output,
            env={**os.environ, "BROWSER": "true"},
            start_new_session=True,
        )
    try:
        await eventually(
            lambda: process.returncode is not None or ADDRESS.search(said.read_text()) is not None,
            HANGS,
        )
        found = ADDRESS.search(said.read_text())
        assert found is not None, f"it ended without an address: {said.read_text()}"
        yield process, found[0]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def code_of(process: asyncio.subprocess.Process) -> int:
    """Return the exit code of *process* once it has ended."""
    async with asyncio.timeout(HANGS):
        return await process.wait()


def interrupt(process: asyncio.subprocess.Process) -> None:
    """Do what Ctrl-C in a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


async def snapshot_at(
    url: str, wanted: Callable[[dict[str, object]], bool] = lambda _: True
) -> dict[str, object]:
    """Return the first snapshot for which *wanted* holds, of those sent to a page at *url*."""
    address, _, token = url.partition("#token=")
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        asyncio.timeout(HANGS),
        httpx2.AsyncClient(headers=headers, timeout=HANGS) as client,
        client.stream("GET", f"{address}api/live") as response,
    ):
        assert response.status_code == 200
        async for name, found in events(response):
            if name == "snapshot" and wanted(found):  # before: the program is still starting
                return found
    pytest.fail("the stream ended before that")


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "said"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "argo.toml"
    path.write_text(
        f'[argo]\nshared = "sqlite:///{tmp_path}/shared.db"\nstate_dir = "{tmp_path}/state"\n'
        'block = ["similarity", "metrics"]\n'
    )
    return path


async def test_it_shows_the_programs_until_ctrl_c(config: Path, said: Path) -> None:
    words = ("-c", str(config), "dashboard", "--no-open", "--port", "0")
    async with running(said, *words) as (process, url):
        found = await snapshot_at(url)
        assert found["instances"] == []
        interrupt(process)
        assert await code_of(process) == 0


async def test_the_demo_shows_signals_that_flow_until_ctrl_c(said: Path) -> None:
    async with running(said, "demo", "--watch", "AAPL") as (process, url):
        found = await snapshot_at(url, lambda one: bool(signals_of(one)))
        view = signals_of(found)[0]
        assert "AAPL" in view["lines"][0]["cells"]
        assert view["plots"][0]["title"] == "AAPL, price"
        assert {one["name"] for one in found["operations"]} >= {"signal", "bars"}
        interrupt(process)
        assert await code_of(process) == 0


async def test_the_demo_leaves_nothing_behind_when_it_is_terminated(said: Path) -> None:
    async with running(said, "demo", "--watch", "AAPL") as (process, _):
        process.terminate()
        await code_of(process)
        await eventually(lambda: not has_processes(process.pid))


def has_processes(group: int) -> bool:
    """Whether any process of *group* runs, or has ended and is not collected yet."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def signals_of(snapshot: dict[str, object]) -> list[dict[str, object]]:
    """Return the views of signals in *snapshot* that have lines."""
    (panel,) = (one for one in snapshot["panels"] if one["name"] == "signals")
    return [view for view in panel["views"].values() if view["lines"]]
