"""The sandbox in a process of its own, used over its pipe and its admin port only."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from argo_mw.plugin import ConfigError

_TIMEOUT = 10.0
_KEYS = {"APCA-API-KEY-ID": "compare", "APCA-API-SECRET-KEY": "compare"}


class Vendors:
    """A sandbox; its calls are short and blocking.

    Args:
        settings: Its configuration, as plain data.
    """

    def __init__(self, settings: Mapping[str, object]) -> None:
        self._settings = settings
        self._child: subprocess.Popen[str] | None = None
        self._root = ""
        self._errors: IO[str]

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        self._errors = tempfile.TemporaryFile("w+")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "argo_mw_sandbox", "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(self._settings) + "\n")
        self._child.stdin.flush()
        self._root = self._child.stdout.readline().strip()
        if not self._root:
            self._child.communicate()
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines()
            self._errors.close()
            msg = f"the sandbox did not start: {lines[-1] if lines else 'it printed nothing'}"
            raise ConfigError(msg)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        if self._child is not None:
            self._child.terminate()
            self._child.communicate()
            self._errors.close()

    def url(self, vendor: str) -> str:
        """Return the base URL for *vendor*'s client."""
        return f"{self._root}/{vendor}"

    def counts(self) -> dict[str, dict[str, object]]:
        """Return what each vendor counted."""
        counts: dict[str, dict[str, object]] = json.loads(self._get("/__counts"))
        return counts

    def symbols(self) -> list[dict[str, object]]:
        """Return every symbol there is, and where its prices are from."""
        symbols: list[dict[str, object]] = json.loads(self._get("/__symbols"))
        return symbols

    def now(self) -> float:
        """Return the replayed time, in seconds since the epoch."""
        state: dict[str, str] = json.loads(self._get("/__admin"))
        return datetime.fromisoformat(state["now"]).timestamp()

    def move_to(self, now: float) -> None:
        """Replay from *now* on, in seconds since the epoch."""
        self.change({"now": datetime.fromtimestamp(now, UTC).isoformat()})

    def change(self, change: Mapping[str, object]) -> None:
        """Set the replayed time, faults or latencies."""
        self._open(Request(f"{self._root}/__admin", data=json.dumps(change).encode()))  # noqa: S310

    def prices(self, symbols: Sequence[str], now: float) -> dict[str, float]:
        """Return the last price of each symbol at *now* in the replay."""
        self.move_to(now)
        start = datetime.fromtimestamp(now - 7 * 86_400, UTC).date().isoformat()
        query = {"symbols": ",".join(symbols), "timeframe": "1Day", "start": start, "limit": 10_000}
        answer = json.loads(self._get(f"/alpaca/v2/stocks/bars?{urlencode(query)}"))
        return {symbol: float(bars[-1]["c"]) for symbol, bars in answer["bars"].items() if bars}

    def minutes(self, symbol: str, start: float, end: float) -> list[tuple[float, float]]:
        """Return when each minute of *symbol* from *start* to *end* began, and its last price.

        Times are in seconds since the epoch.
        """
        query: dict[str, object] = {
            "symbols": symbol,
            "timeframe": "1Min",
            "start": datetime.fromtimestamp(start, UTC).isoformat(),
            "end": datetime.fromtimestamp(end, UTC).isoformat(),
            "limit": 10_000,
        }
        found: list[tuple[float, float]] = []
        more: dict[str, object] | None = {}
        while more is not None:
            answer = json.loads(self._get(f"/alpaca/v2/stocks/bars?{urlencode(query | more)}"))
            for bar in answer["bars"].get(symbol, []):
                at = datetime.fromisoformat(bar["t"])
                found.append((at.timestamp(), float(bar["c"])))
            token = answer.get("next_page_token")
            more = {"page_token": token} if token else None
        return found

    def _get(self, path: str) -> bytes:
        return self._open(Request(self._root + path, headers=_KEYS))  # noqa: S310

    def _open(self, request: Request) -> bytes:
        with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 (our own child)
            body: bytes = response.read()
        return body
