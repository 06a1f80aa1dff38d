"""``argo-mw budgets`` as people type it, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from argo_mw import Argo
from argo_mw.cli import ExitCode
from argo_mw.cli.main import cli
from argo_mw.plugin import context_of
from argo_mw.registry import discovery
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw_llm import LlmPlugin
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.counters import NANO, PREFIX

EVER, CARLA = f"{PREFIX}0:::ever", f"{PREFIX}@5:carla::ever"
Run = Callable[..., Result]


class Entry:
    load = staticmethod(lambda: LlmPlugin)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Run ``argo-mw budgets`` beside a store in a file."""
    found = [InstalledPlugin("llm", Entry(), f"argo-mw-llm {version('argo-mw-llm')}")]  # type: ignore[arg-type]
    monkeypatch.setattr(discovery, "discover", lambda: found)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Path("argo.toml").write_text('[argo]\nshared = "sqlite"\n', "utf-8")
    yield lambda *words: CliRunner().invoke(cli, ["budgets", *words])
    structlog.reset_defaults()


def book(counters: Mapping[str, int]) -> None:
    """Let another instance have counted so much."""

    async def booking() -> None:
        async with Argo.open() as argo:
            for key, count in counters.items():
                await context_of(argo).shared.add(key, count)

    asyncio.run(booking())


def test_each_budget_is_listed_with_what_is_booked_and_whether_it_is_stopped(run: Run) -> None:
    book({EVER: NANO // 4, CARLA: 3 * NANO, CARLA + STOPPED: 1})
    result = run("--json")
    assert ExitCode.OK == result.exit_code, result.output
    assert [
        {"budget": "ever, all tenants, all models", "usd": 0.25, "stopped": False},
        {"budget": "ever, carla", "usd": 3.0, "stopped": True},
    ] == json.loads(result.stdout)
    all_models, carla = (line for line in run().stdout.splitlines() if line.startswith("ever"))
    assert ["0.2500"] == all_models.split()[-1:]
    assert ["3.0000", "stopped"] == carla.split()[-2:]


def test_a_stop_is_lifted_only_where_that_is_asked_for(run: Run) -> None:
    book({EVER: NANO, EVER + STOPPED: 1, CARLA: NANO, CARLA + STOPPED: 2})
    assert "lifted" not in run().stderr
    for label in ("ever, all tenants, all models", "ever, carla"):
        assert label in run("--json").stdout
    lifted = run("--lift")
    assert ["lifted: ever, all tenants, all models", "lifted: ever, carla"] == [
        line.strip() for line in lifted.stderr.splitlines()
    ]
    assert "stopped" not in lifted.stdout
    assert [False, False] == [row["stopped"] for row in json.loads(run("--json").stdout)]
