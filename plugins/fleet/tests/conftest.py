"""A fleet without Dask, and a plugin that worker processes find."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from argo_mw import Argo
from argo_mw.plugin import Context, context_of
from argo_mw.testing import FakeClock
from argo_mw_fleet import Fleet, FleetUnavailable, WorkerLost, WorkerNow
from argo_mw_fleet.answering import Answering

HERE = Path(__file__).parent


class LocalEngine:
    """A second engine, of workers in this process: whatever the adapter to Dask is, the rest is not it."""

    def __init__(self, caller: Argo, answering: Mapping[str, Answering]) -> None:
        self.caller = caller
        self.answering = dict(answering)
        self.away = False
        self.sent: list[tuple[str, int]] = []
        self.lose: Callable[[str, int], bool] = lambda worker, number: False

    async def workers(self) -> Mapping[str, WorkerNow]:
        if self.away:
            msg = "the scheduler cannot be reached"
            raise FleetUnavailable(msg)
        return {name: WorkerNow(name, f"worker://{name}") for name in sorted(self.answering)}

    async def run(self, worker: str, request: bytes) -> bytes:
        number = sum(one == worker for one, _ in self.sent) + 1
        self.sent.append((worker, len(request)))
        if worker not in self.answering:
            msg = f"there is no worker {worker}"
            raise WorkerLost(msg)
        reply = await self.answering[worker].answer(request)
        if self.lose(worker, number):
            del self.answering[worker]
            msg = f"worker {worker} has left"
            raise WorkerLost(msg)
        return reply


OpenWorkers = Callable[..., contextlib.AbstractAsyncContextManager[tuple[Fleet, LocalEngine]]]


@pytest.fixture
def workers(tmp_path: Path) -> OpenWorkers:
    """Open a caller and workers by the names given, each an application of its own."""

    @contextlib.asynccontextmanager
    async def opened(
        *names: str,
        plugin: Callable[[str], object],
        clock: FakeClock | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> AsyncIterator[tuple[Fleet, LocalEngine]]:
        async with contextlib.AsyncExitStack() as stack:
            contexts: dict[str, Context] = {}
            applications: dict[str, Argo] = {}
            for name in ("caller", *names):
                settings: dict[str, object] = {
                    "shared": "memory://",
                    "state_dir": str(tmp_path / name),
                    "tenant": "caller" if name == "caller" else "other",
                }
                key = (keys or {}).get(name)
                if key is not None:
                    settings["signing_key"] = key
                argo = Argo.open(
                    {"argo": settings},
                    plugins={"toys": plugin(name)},
                    installed=False,
                    clock=clock,
                )
                applications[name] = await stack.enter_async_context(argo)
                contexts[name] = context_of(argo)
            engine = LocalEngine(
                applications["caller"], {name: Answering(applications[name]) for name in names}
            )
            yield Fleet(engine, contexts["caller"], applications["caller"].settings), engine

    return opened


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the toys for worker processes, as a distribution in a folder, and change into it."""
    distributions = {"toys": "fleet_toys:plugin"}
    found = {entry_point.name for entry_point in entry_points(group="argo_mw")}
    if "fleet" not in found:  # a checkout of which not every plugin is installed
        distributions["fleet"] = "argo_mw_fleet.plugin:FleetPlugin"
    for name, plugin in distributions.items():
        info = tmp_path / f"argo_mw_{name}-1.0.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: argo-mw-{name}\nVersion: 1.0\n"
        info.joinpath("METADATA").write_text(about)
        info.joinpath("entry_points.txt").write_text(f"[argo_mw]\n{name} = {plugin}\n")
    (tmp_path / "fleet_toys.py").write_text((HERE / "fleet_toys.py").read_text("utf-8"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    blocked = json.dumps(sorted(found - {"fleet"}))
    (tmp_path / "argo.toml").write_text(
        f'[argo]\nstate_dir = "state"\nstrict = true\nblock = {blocked}\n'
    )
    yield tmp_path
    sys.modules.pop("fleet_toys", None)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for *condition*, by turns of the loop and moments of the machine."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
