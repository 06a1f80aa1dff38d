"""The history: signals of earlier days, which are in the files when an experiment starts.

How long a query takes depends on the rows, so both services have the same ones: the baseline in its
own table, the plugin in what its own import makes of that table.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from argo_mw.plugin import ConfigError

TABLE = """CREATE TABLE signals (
    id INTEGER PRIMARY KEY, symbol TEXT, action TEXT, confidence REAL, timestamp TEXT, price REAL
)"""
INSERT = "INSERT INTO signals (symbol, action, confidence, timestamp, price) VALUES (?, ?, ?, ?, ?)"
_BASELINE, _RECORDED = "baseline.db", "persist.db"
_ACTIONS = ("BUY", "SELL", "HOLD")


class History:
    """Files with the same earlier signals, to be copied for each instance.

    Args:
        folder: Where they are made.
        names: The symbols.
        rows: How many signals there are.
        until: When the last of them was given, in seconds since the epoch.
        recorded: Whether there is a plugin that records signals.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], *, rows: int, until: float, recorded: bool
    ) -> None:
        self._folder = folder
        self._recorded = recorded
        with closing(sqlite3.connect(folder / _BASELINE)) as old, old:
            old.execute(TABLE)
            old.executemany(INSERT, earlier_signals(names, rows, until))
        if recorded:
            self._import()

    def baseline(self, folder: Path) -> Path:
        """Return the baseline's file, in *folder*."""
        return self._copied(_BASELINE, folder)

    def recorded(self, folder: Path) -> Path | None:
        """Return the plugin's file, in *folder*; ``None`` without such a plugin."""
        return self._copied(_RECORDED, folder) if self._recorded else None

    def _copied(self, name: str, folder: Path) -> Path:
        path = folder / name
        if not path.exists():
            shutil.copyfile(self._folder / name, path)
            path.chmod(0o600)
        return path

    def _import(self) -> None:
        config = self._folder / "argo.toml"
        url = f"sqlite:///{self._folder / _RECORDED}"
        config.write_text(
            f'[argo]\nstate_dir = "{self._folder}"\nshared = "memory://"\n'
            f'[plugins.persist]\nurl = "{url}"\n'
        )
        command = ["signals", "import", str(self._folder / _BASELINE)]
        done = subprocess.run(  # noqa: S603 (our own program)
            [sys.executable, "-m", "argo_mw", "--config", str(config), *command],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            msg = f"earlier signals could not be imported: {done.stderr.strip()}"
            raise ConfigError(msg)


def row(symbol: str, action: str, confidence: float, at: float, price: float) -> tuple[object, ...]:
    """Return a row of the baseline's table."""
    return symbol, action, confidence, datetime.fromtimestamp(at, UTC).isoformat(), price


def earlier_signals(names: Sequence[str], rows: int, until: float) -> Iterator[tuple[object, ...]]:
    """Yield *rows* rows of the baseline's table, a minute apart for each symbol, up to *until*."""
    drawn = random.Random(0)
    for number in range(rows):
        at = until - 60.0 * (1 + (rows - number) // len(names))
        name = names[number % len(names)]
        confidence = round(drawn.uniform(0.3, 0.9), 3)
        yield row(name, drawn.choice(_ACTIONS), confidence, at, round(drawn.uniform(20, 400), 2))
