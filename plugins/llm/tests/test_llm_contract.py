"""The contract of operations, for language models and their voices: all belong to a tenant."""

from __future__ import annotations

import numpy as np
import pandas as pd

from argo_mw.plugin import operation
from argo_mw.testing import OperationConformance
from argo_mw_llm import LlmPlugin
from argo_mw_llm.answers import Completion, Embedding, Opinion, Usage

_EXCHANGE = {"model": "some", "body": {}, "endpoint": "https://some.example/v1", "account": "a"}


@operation(subject="symbol")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> pd.DataFrame:
    """Prices, as another plugin offers them."""
    raise AssertionError


@operation(subject="symbol")
def news(symbol: str) -> tuple[object, ...]:
    """News, as another plugin offers them."""
    raise AssertionError


def frame() -> pd.DataFrame:
    close = 100.0 + np.sin(np.arange(80) / 5.0)
    index = pd.date_range("2025-01-01", periods=80, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


class TestOperations(OperationConformance):
    name = "llm"
    plugin = LlmPlugin
    parameters = {  # noqa: RUF012
        "complete": {"messages": "How are you?"},
        "opinion": {"symbol": "AAPL", "indicators": {"rsi": 31.2}},
        "opinion_claude": {"symbol": "AAPL", "indicators": {"rsi": 31.2}},
        "voice_panel": {"symbol": "AAPL"},
        "voice_claude": {"symbol": "AAPL"},
        "glm_exchange": _EXCHANGE,
        "deepseek_exchange": _EXCHANGE,
        "qwen_exchange": _EXCHANGE,
        "claude_exchange": _EXCHANGE,
        "openai_exchange": _EXCHANGE,
        "embed": {"text": "oil"},
    }
    asked = (bars, news)
    answers = {  # noqa: RUF012
        "bars": frame(),
        "news": (),
        "complete": Completion("Well.", "some", "end", Usage()),
        "opinion": Opinion("BUY", 0.5, "because", "some", Usage()),
        "opinion_claude": Opinion("SELL", 0.5, "because", "other", Usage()),
        "glm_exchange": "raw",
        "deepseek_exchange": "raw",
        "qwen_exchange": "raw",
        "claude_exchange": "raw",
        "openai_exchange": "raw",
        "embed": Embedding((0.6, 0.8), "some", Usage()),
    }
