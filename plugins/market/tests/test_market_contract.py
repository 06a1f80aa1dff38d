"""The contract of operations, for bars and news."""

from __future__ import annotations

import numpy as np

from argo_mw.testing import OperationConformance
from argo_mw_market import MarketPlugin
from argo_mw_market.frames import make_frame


class TestOperations(OperationConformance):
    name = "market"
    plugin = MarketPlugin
    parameters = {"bars": {"symbol": "AAPL"}, "news": {"symbol": "AAPL"}}  # noqa: RUF012
    public = ("bars", "news")
    answers = {  # noqa: RUF012
        "bars": make_frame(np.array([1_700_000_000.0]), np.full((1, 5), 100.0)),
        "news": (),
    }
