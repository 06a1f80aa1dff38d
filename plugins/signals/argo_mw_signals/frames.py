"""Recorded signals as pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from argo_mw.plugin import TimeOrderedIds
from argo_mw_signals.recorded import RecordedSignal

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "id",
    "symbol",
    "action",
    "confidence",
    "price",
    "upstream",
    "outcome",
    "is_active",
    "exit_price",
    "profit",
    "exit_timestamp",
)


def to_frame(signals: Sequence[RecordedSignal]) -> pd.DataFrame:
    """Return *signals* in their order, with :data:`COLUMNS`, indexed by ``timestamp`` (UTC)."""
    import pandas as pd

    frame = pd.DataFrame(
        [[_cell(signal, name) for name in COLUMNS] for signal in signals], columns=list(COLUMNS)
    )
    for name in ("confidence", "price", "exit_price", "profit"):
        frame[name] = frame[name].astype("float64")
    frame["exit_timestamp"] = pd.to_datetime(frame["exit_timestamp"], unit="us", utc=True)
    times = pd.to_datetime([signal.timestamp for signal in signals], unit="us", utc=True)
    return frame.set_index(pd.DatetimeIndex(times, name="timestamp"))


def _cell(signal: RecordedSignal, name: str) -> object:
    return TimeOrderedIds.text(signal.id) if name == "id" else getattr(signal, name)
