"""A worker of a fleet is killed in a round: each symbol has one answer, and one row."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from argo_mw import Argo, Outcome
from argo_mw_fleet import open_fleet

SYMBOLS = [f"Q{letter}{number}" for letter in "ABCDEFGHIJ" for number in range(6)]
USED = {"cache", "coalesce", "adaptive_ttl", "fleet", "persist", "signals"}

EXCHANGE = """
import asyncio, hashlib, os
import numpy as np
import pandas as pd
from argo_mw.plugin import Outcome, Upstream, hookimpl, operation


@operation(subject="symbol", data_type="")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> object: ...


@operation(subject="symbol", data_type="")
def news(symbol: str, *, days: int = 3) -> object: ...


async def fetch(call):
    with open("asked.txt", "a") as asked:
        asked.write(f"{call.operation.name} {call.subject} {os.getpid()}\\n")
    seed = int.from_bytes(hashlib.blake2b(call.subject.encode(), digest_size=4).digest())
    # One after the other, so that there is a midst in which to kill.
    await asyncio.sleep(0.1 + seed % 20 / 10)
    if call.operation.name == "news":
        return Outcome(())
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.01, 62)))
    index = pd.date_range("2025-04-01", periods=62, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close * 1.01, "low": close * 0.98, "close": close}
    return Outcome(pd.DataFrame({**columns, "volume": 1000.0}, index=index))


class Exchange:
    @hookimpl
    def register_operations(self):
        return [bars, news]

    @hookimpl
    def register_upstreams(self):
        return [Upstream("exchange", frozenset({"bars", "news"}), fetch, timeout=30.0)]


plugin = Exchange()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with an exchange that workers find, and a configuration."""
    found = {entry_point.name for entry_point in entry_points(group="argo_mw")}
    brought = {"exchange": "fleet_exchange:plugin"}
    if "fleet" not in found:  # a checkout of which not every plugin is installed
        brought["fleet"] = "argo_mw_fleet.plugin:FleetPlugin"
    for name, plugin in brought.items():
        info = tmp_path / f"argo_mw_{name}-1.0.dist-info"
        info.mkdir()
        about = f"Metadata-Version: 2.1\nName: argo-mw-{name}\nVersion: 1.0\n"
        info.joinpath("METADATA").write_text(about)
        info.joinpath("entry_points.txt").write_text(f"[argo_mw]\n{name} = {plugin}\n")
    (tmp_path / "fleet_exchange.py").write_text(EXCHANGE)
    blocked = json.dumps(sorted(found - USED))
    (tmp_path / "argo.toml").write_text(
        f'[argo]\nstate_dir = "state"\nblock = {blocked}\n[plugins.persist]\ndurable = true\n'
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(folder: Path) -> Counter[str]:
    """How many signals of each symbol are recorded."""
    with sqlite3.connect(folder / "state" / "persist.db") as database:
        return Counter(symbol for (symbol,) in database.execute("SELECT symbol FROM signals"))


@pytest.mark.heavy
async def test_a_worker_that_is_killed_in_a_round_leaves_one_row_of_each_symbol(
    folder: Path,
) -> None:
    async with Argo.open("argo.toml") as argo, open_fleet(argo, "local:3") as fleet:
        assert isinstance((await fleet.map("signal", ["WARM"]))["WARM"], Outcome)
        lines = (folder / "asked.txt").read_text().splitlines()
        known = len(lines)
        came: Counter[str] = Counter()
        async with fleet.each("signal", SYMBOLS) as answers:
            async for symbol, answer in answers:
                assert isinstance(answer, Outcome), answer
                came[symbol] += 1
                if came.total() == len(SYMBOLS) // 3:
                    asked = (folder / "asked.txt").read_text().splitlines()[known:]
                    victim = int(asked[0].split()[2])
                    # Some of its rows are there, others are not, and some are on their way.
                    os.kill(victim, signal.SIGKILL)
        assert dict.fromkeys(SYMBOLS, 1) == dict(came)
        assert 2 == len(await fleet.workers())
        again = await fleet.map("signal", SYMBOLS)
        assert all(isinstance(one, Outcome) for one in again.values())
    assert {**dict.fromkeys(SYMBOLS, 1), "WARM": 1} == dict(rows(folder))
