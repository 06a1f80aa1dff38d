"""``argo-mw dashboard`` and ``argo-mw demo --watch``, as processes of their own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path

import httpx2
import pytest

pytestmark = pytest.mark.skipif(
    not entry_points(group="argo_mw", name="dashboard"),
    reason="needs `pip install -e plugins/dashboard`",
)


@asynccontextmanager
async def running(*words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run ``argo-mw`` with *words*; give the process and the address that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "argo_mw",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "BROWSER": "true"},
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
        if process.returncode is None:
            process.kill()
            await process.wait()


async def snapshot_at(url: str) -> dict[str, object]:
    """Return what the dashboard at *url* shows."""
    address, _, token = url.partition("#token=")
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        async with asyncio.timeout(60.0):
            while True:
                answer = await client.get(f"{address}api/snapshot", timeout=60.0)
                if answer.status_code != 503:  # 503: the program is still starting
                    break
                await asyncio.sleep(0.1)
    assert answer.status_code == 200
    return answer.json()


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
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20.0):
            assert await process.wait() == 0


async def test_the_demo_shows_signals_that_flow_until_ctrl_c() -> None:
    async with running("demo", "--watch", "AAPL") as (process, url):
        async with asyncio.timeout(60.0):
            while True:
                found = await snapshot_at(url)
                panels = {panel["name"]: panel for panel in found["panels"]}
                views = list(panels["signals"]["views"].values())
                if views and views[0]["lines"]:
                    break
                await asyncio.sleep(0.2)
        assert "AAPL" in views[0]["lines"][0]["cells"]
        assert views[0]["plots"][0]["title"] == "AAPL, price"
        assert {one["name"] for one in found["operations"]} >= {"signal", "bars"}
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20.0):
            assert await process.wait() == 0
