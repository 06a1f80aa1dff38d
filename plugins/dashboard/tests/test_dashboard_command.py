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

from .conftest import events

pytestmark = pytest.mark.skipif(
    not entry_points(group="argo_mw", name="dashboard"),
    reason="needs `pip install -e plugins/dashboard`",
)


@asynccontextmanager
async def running(*words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run ``argo-mw`` with *words*; give the process and the address that it prints.

    Nothing that it has started outlives this.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "argo_mw",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "BROWSER": "true"},
        start_new_session=True,
    )
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(120.0):
            async for line in process.stderr:
                said += line.decode()
                if found := re.search(r"http://127\.0\.0\.1:\d+/#token=\S+", said):
                    yield process, found[0]
                    return
        pytest.fail(f"it ended without an address: {said}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


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
        asyncio.timeout(60.0),
        httpx2.AsyncClient(headers=headers, timeout=60.0) as client,
        client.stream("GET", f"{address}api/live") as response,
    ):
        assert response.status_code == 200
        async for name, found in events(response):
            if name == "snapshot" and wanted(found):  # before: the program is still starting
                return found
    pytest.fail("the stream ended before that")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "argo.toml"
    path.write_text(
        f'[argo]\nshared = "sqlite:///{tmp_path}/shared.db"\nstate_dir = "{tmp_path}/state"\n'
        'block = ["similarity", "metrics"]\n'
    )
    return path


async def test_it_shows_the_programs_until_ctrl_c(config: Path) -> None:
    words = ("-c", str(config), "dashboard", "--no-open", "--port", "0")
    async with running(*words) as (process, url):
        found = await snapshot_at(url)
        assert found["instances"] == []
        interrupt(process)
        async with asyncio.timeout(20.0):
            assert await process.wait() == 0


async def test_the_demo_shows_signals_that_flow_until_ctrl_c() -> None:
    async with running("demo", "--watch", "AAPL") as (process, url):
        found = await snapshot_at(url, lambda one: bool(signals_of(one)))
        view = signals_of(found)[0]
        assert "AAPL" in view["lines"][0]["cells"]
        assert view["plots"][0]["title"] == "AAPL, price"
        assert {one["name"] for one in found["operations"]} >= {"signal", "bars"}
        interrupt(process)
        async with asyncio.timeout(20.0):
            assert await process.wait() == 0


async def test_the_demo_leaves_nothing_behind_when_it_is_terminated() -> None:
    async with running("demo", "--watch", "AAPL") as (process, _):
        process.terminate()
        async with asyncio.timeout(20.0):
            await process.wait()
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


def signals_of(snapshot: dict[str, object]) -> list[dict[str, object]]:
    """Return the views of signals in *snapshot* that have lines."""
    (panel,) = (one for one in snapshot["panels"] if one["name"] == "signals")
    return [view for view in panel["views"].values() if view["lines"]]
