"""A 90-day minute frame through the codec, beside pickle, JSON and Parquet."""

from __future__ import annotations

import io
import pickle
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from argo_mw.plugin import Codecs

ROWS = 35_000

Way = tuple[Callable[[pd.DataFrame], bytes], Callable[[bytes], object]]


def minute_frame() -> pd.DataFrame:
    """Prices in cents on a random walk, and volumes: what a market's minutes look like."""
    rng = np.random.default_rng(7)
    close = np.round(187 + np.cumsum(rng.normal(0, 0.05, ROWS)), 2)
    spread = np.round(np.abs(rng.normal(0, 0.08, (2, ROWS))), 2)
    opened = np.roll(close, 1)
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.round(np.maximum(opened, close) + spread[0], 2),
            "low": np.round(np.minimum(opened, close) - spread[1], 2),
            "close": close,
            "volume": rng.integers(100, 100_000, ROWS),
        },
        index=pd.date_range("2024-01-02 14:30", periods=ROWS, freq="min", tz="UTC", name="time"),
    )


def measure(rounds: int) -> dict[str, float]:
    """Milliseconds to encode and decode, and bytes, each way."""
    frame = minute_frame()
    codecs = Codecs()
    ways: dict[str, Way] = {
        "": (codecs.encode, codecs.decode),
        "_pickle": (pickle.dumps, pickle.loads),
        "_json": (_to_json, _from_json),
        "_parquet": (_to_parquet, _from_parquet),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    sizes = {name: len(encode(frame)) for name, (encode, _) in ways.items()}
    for _ in range(rounds):
        for name, (encode, decode) in ways.items():
            start = time.perf_counter()
            decode(encode(frame))
            taken[name].append((time.perf_counter() - start) * 1e3)
    figures = {f"frame{name}_ms": round(statistics.median(t), 3) for name, t in taken.items()}
    figures |= {f"frame{name}_bytes": size for name, size in sizes.items()}
    figures["frame_vs_pickle_ms"] = round(figures["frame_ms"] / figures["frame_pickle_ms"], 3)
    return figures


def _to_json(frame: pd.DataFrame) -> bytes:
    return frame.to_json(orient="split").encode()


def _from_json(data: bytes) -> object:
    return pd.read_json(io.BytesIO(data), orient="split")


def _to_parquet(frame: pd.DataFrame) -> bytes:
    return frame.to_parquet()


def _from_parquet(data: bytes) -> object:
    return pd.read_parquet(io.BytesIO(data))
