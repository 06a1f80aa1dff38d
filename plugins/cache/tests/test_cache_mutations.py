"""Whatever the store holds: nothing raises, nothing is executed, nothing wrong becomes an answer."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from argo_mw import Argo
from argo_mw.app.application import engine_of
from argo_mw.plugin import LayerActed, context_of, operation
from argo_mw.store.codec import Envelope
from argo_mw.testing import FakePlugin, Scripted, capture_events
from argo_mw_cache import CachePlugin
from argo_mw_cache.stored_answer import store_key

KEY = "s3cret-and-long-enough-for-a-key"
TIMES = pd.date_range("2024-01-02", periods=30, freq="min", tz="UTC")
VALUES: dict[str, object] = {
    "text": "an answer",
    "long": "news " * 1_000,
    "plain": {"price": 187.2, "days": [1, 2, 3], "note": None, "raw": b"\x00\x01"},
    "frame": pd.DataFrame({"close": np.arange(30.0), "name": ["x"] * 30}, index=TIMES),
}
executed: list[str] = []


class Bomb:
    """Pickled, it runs something where it is loaded."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return executed.append, ("boom",)


@operation(subject="symbol")
def quote(symbol: str) -> object:
    """What the symbol's value is."""


@pytest.fixture(params=["", KEY], ids=["unsigned", "signed"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    argo: dict[str, object] = {"shared": f"memory://{tmp_path.name}", "strict": True}
    if request.param:
        argo["signing_key"] = request.param
    return {"argo": argo, "plugins": {"cache": {"memory": False}}}


def application(settings: dict[str, object], upstream: Scripted) -> Argo:
    asked = FakePlugin(operations=[quote], upstreams=[upstream])
    plugins = {"cache": CachePlugin, "asked": asked}
    return Argo.open(settings, plugins=plugins, installed=False)


async def stored(settings: dict[str, object]) -> dict[str, tuple[str, bytes]]:
    """Each value's key in the store and the bytes under it."""
    found = {}
    async with application(settings, Scripted("a", ["quote"], lambda c: VALUES[c.subject])) as argo:
        for symbol in VALUES:
            await argo.call("quote", symbol=symbol)
            call, _ = engine_of(argo).pipeline.calls.get("quote", "default", {"symbol": symbol})
            data = await context_of(argo).shared.get(store_key(call))
            assert data is not None
            found[symbol] = (store_key(call), data)
    return found


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """*data* as an accident, a foreigner or an attacker might have left it."""
    changed = bytearray(data)
    match rng.randrange(8):
        case 0:
            return bytes(changed[: rng.randrange(len(changed))])
        case 1:
            return bytes(changed) + rng.randbytes(rng.randrange(1, 9))
        case 2:
            return rng.randbytes(rng.randrange(200))
        case 3:
            other = rng.choice(others)
            at = rng.randrange(len(data))
            return bytes(changed[:at]) + other[min(at, len(other) - 1) :]
        case 4:
            return pickle.dumps(Bomb(), protocol=rng.randrange(2, 6))
        case 5:
            at = rng.randrange(len(changed))
            return bytes(changed[:at]) + pickle.dumps(Bomb()) + bytes(changed[at:])
        case _:
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(len(changed))
                changed[at] ^= rng.randrange(1, 256)
            return bytes(changed)


async def test_ten_thousand_mutated_values_are_all_misses(settings: dict[str, object]) -> None:
    rng = random.Random(10_000)
    originals = await stored(settings)
    every = [data for _, data in originals.values()]
    upstream = Scripted("a", ["quote"], "loaded")
    async with application(settings, upstream) as argo:
        events = capture_events(argo)
        for number in range(10_000):
            symbol = rng.choice(list(originals))
            key, data = originals[symbol]
            while (changed := mutated(data, every, rng)) == data:
                pass
            asked = len(upstream.asked)
            await context_of(argo).shared.set(key, changed)
            assert "loaded" == await argo.call("quote", symbol=symbol), (number, changed)
            assert asked + 1 == len(upstream.asked)
        actions = {event.action for event in events.of(LayerActed)}
    assert {"undecodable", "miss", "store"} == actions
    assert 10_000 == len(upstream.asked)
    assert [] == executed


async def test_values_mutated_before_signing_raise_and_run_nothing(
    settings: dict[str, object],
) -> None:
    """They may decode to any answer, but raise no error and execute nothing."""
    rng = random.Random(2_000)
    originals = await stored(settings)
    every = [data for _, data in originals.values()]
    key_bytes = str(settings["argo"].get("signing_key", "")).encode()  # type: ignore[attr-defined]
    envelope = Envelope(key=key_bytes or None)
    upstream = Scripted("a", ["quote"], "loaded")
    async with application(settings, upstream) as argo:
        for _ in range(2_000):
            symbol = rng.choice(list(originals))
            key, data = originals[symbol]
            body = envelope.unwrap(data, key)
            assert isinstance(body, (bytes, memoryview))
            sealed = envelope.wrap(mutated(bytes(body), every, rng), key)
            await context_of(argo).shared.set(key, sealed)
            await argo.call("quote", symbol=symbol)
    assert len(upstream.asked) > 1_000
    assert [] == executed
