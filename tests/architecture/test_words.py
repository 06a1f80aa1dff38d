"""The core knows no market and no vendor: neither its names nor its texts speak of one.

Words are matched whole, inside names too: ``stockPrice`` and ``STOCK_PRICE`` hold "stock",
``restock`` does not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "argo_mw"

MARKET = """
    symbol symbols ticker tickers bar bars candle candles ohlc ohlcv stock stocks equity equities
    crypto cryptos forex fx quotes market markets trade trades trading trader
    broker portfolio sentiment indicator indicators consensus bullish bearish volatility nyse nasdaq
    aapl tsla msft eth btc
"""
VENDORS = """
    alpaca massive polygon alphavantage finnhub yahoo claude anthropic openai gpt gemini glm zhipu
    deepseek qwen dashscope mistral llama
"""
WORDS = frozenset((MARKET + VENDORS).split())

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

FILES = sorted(file for file in CORE.rglob("*") if file.suffix in {".py", ".tmpl"})


def forbidden(text: str) -> set[str]:
    """Return the words of the list that stand in *text*."""
    return {word.lower() for word in _WORD.findall(text)} & WORDS


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_core_speaks_of_no_market_and_no_vendor(file: Path) -> None:
    found = {
        f"line {number}: {', '.join(sorted(forbidden(line)))}"
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if forbidden(line)
    }
    assert set() == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stockPrice", {"stock"}),
        ("STOCK_OF", {"stock"}),
        ("StockFeed", {"stock"}),
        ("a stock's", {"stock"}),
        ("upstream.glm", {"glm"}),
        ("AAPL", {"aapl"}),
        ("restock the barscape", set()),
    ],
)
def test_words_are_matched_whole(text: str, expected: set[str]) -> None:
    assert expected == forbidden(text)
