"""Signals on local workers: what a symbol costs among few and among many, and how even shares are."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import itertools
import json
import random
import statistics
import string
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from attrs import frozen

from argo_mw import Argo, Outcome
from argo_mw_fleet import Fleet, open_fleet, place
from argo_mw_sandbox import SandboxConfig, SandboxProcess

_FEW = 10
_DAYS = 120


@frozen
class Cost:
    """What was spent on one round, by symbol.

    Attributes:
        requests: Requests that vendors have counted.
        cpu_s: Seconds of CPU.
    """

    requests: float
    cpu_s: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The part's own arguments."""
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--few-rounds", type=int, default=7, help="rounds with ten symbols")


async def run(args: argparse.Namespace) -> Mapping[str, object]:
    """Return the figures."""
    names = iter(_symbols(args.symbols + _FEW * (args.few_rounds + 1)))
    with tempfile.TemporaryDirectory(prefix="argo-mw-bench-") as name:
        folder = Path(name)
        every = [*names]
        _write_bars(folder / "bars", every)
        with SandboxProcess(SandboxConfig(data=folder / "bars")) as sandbox:
            file = _configuration(folder, sandbox.url("alpaca"))
            async with (
                Argo.open(file) as argo,
                open_fleet(argo, f"local:{args.workers}") as fleet,
            ):
                stage = _Stage(fleet, sandbox)
                left = iter(every)
                await stage.round(_next(left, _FEW))
                few = [await stage.round(_next(left, _FEW)) for _ in range(args.few_rounds)]
                many = _next(left, args.symbols)
                all_at_once = await stage.round(many)
                shares = place(tuple(many), tuple(await fleet.workers()))
    requests = all_at_once.requests / statistics.median(one.requests for one in few)
    cpu = all_at_once.cpu_s / statistics.median(one.cpu_s for one in few)
    return {
        "cost_per_symbol_ratio": round(max(requests, cpu), 3),
        "requests_per_symbol_ratio": round(requests, 3),
        "cpu_per_symbol_ratio": round(cpu, 3),
        "requests_per_symbol": round(all_at_once.requests, 4),
        "cpu_ms_per_symbol": round(1000 * all_at_once.cpu_s, 2),
        "spread_imbalance": round(max(map(len, shares.values())) / (len(many) / args.workers), 3),
    }


class _Stage:
    """A fleet, and what is spent on its rounds."""

    def __init__(self, fleet: Fleet, sandbox: SandboxProcess) -> None:
        self._fleet = fleet
        self._sandbox = sandbox
        me = psutil.Process()
        self._processes = [me, *(c for c in me.children() if c.pid != sandbox.pid)]

    async def round(self, symbols: Sequence[str]) -> Cost:
        """Return what signals of *symbols* cost, each of which must be there."""
        before = await self._spent()
        answers = await self._fleet.map("signal", symbols)
        after = await self._spent()
        failed = [str(one) for one in answers.values() if not isinstance(one, Outcome)]
        if failed:
            msg = f"{len(failed)} of {len(symbols)} symbols failed: {failed[0]}"
            raise RuntimeError(msg)
        requests, cpu = (late - early for early, late in zip(before, after, strict=True))
        return Cost(requests / len(symbols), cpu / len(symbols))

    async def _spent(self) -> tuple[float, float]:
        counts = await asyncio.to_thread(self._sandbox.counts)
        requests = sum(float(str(one["requests"])) for one in counts.values())
        used = [process.cpu_times() for process in self._processes]
        return requests, sum(one.user + one.system for one in used)


def _next(names: Iterator[str], count: int) -> list[str]:
    return list(itertools.islice(names, count))


def _symbols(count: int) -> list[str]:
    letters = itertools.product(string.ascii_uppercase, repeat=3)
    return ["Q" + "".join(three) for three in itertools.islice(letters, count)]


def _write_bars(folder: Path, symbols: Sequence[str]) -> None:
    folder.mkdir()
    today = dt.datetime.now(dt.UTC).date()
    back = (today - dt.timedelta(days=n) for n in range(1, 2 * _DAYS))
    days = sorted(itertools.islice((day for day in back if day.weekday() < 5), _DAYS))
    chance = random.Random(1)
    for symbol in symbols:
        price = chance.uniform(20, 400)
        lines = ["time,open,high,low,close,volume"]
        for day in days:
            last, price = price, price * (1.0 + chance.gauss(0.0, 0.02))
            high, low = max(last, price) * 1.01, min(last, price) * 0.99
            moment = f"{day.isoformat()}T05:00:00Z"
            lines.append(f"{moment},{last:.2f},{high:.2f},{low:.2f},{price:.2f},1000000")
        (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n")


def _configuration(folder: Path, url: str) -> Path:
    file = folder / "argo.toml"
    file.write_text(
        f"[argo]\nstate_dir = {json.dumps(str(folder / 'state'))}\n"
        f"[plugins.market.alpaca]\nurl = {json.dumps(url)}\nkey = 'k'\nsecret = 's'\n"
    )
    return file
