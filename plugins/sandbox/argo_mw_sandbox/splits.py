"""Splits: the real prices are as traded, and vendors offer them adjusted as well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from argo_mw_sandbox.bars import Bars
from argo_mw_sandbox.instruments import Instrument
from argo_mw_sandbox.sessions import NEW_YORK


def _first_second(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=NEW_YORK).astimezone(UTC).timestamp()


SPLITS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "AAPL": ((_first_second("2000-06-21"), 2.0), (_first_second("2005-02-28"), 2.0)),
    "MSFT": ((_first_second("2003-02-18"), 2.0),),
}
"""When the built-in real symbols were split within their data, and into how many shares."""


def adjusted(bars: Bars, instrument: Instrument) -> Bars:
    """Return *bars* as if all shares had always been what they are after the last split."""
    splits = SPLITS.get(instrument.symbol, ()) if instrument.source == "real" else ()
    factor = np.ones(len(bars))
    for begins, shares in splits:
        factor[bars.time < begins] *= shares
    if (factor == 1.0).all():
        return bars
    return Bars(
        bars.time,
        np.round(bars.open / factor, 4),
        np.round(bars.high / factor, 4),
        np.round(bars.low / factor, 4),
        np.round(bars.close / factor, 4),
        bars.volume * factor,
    )
