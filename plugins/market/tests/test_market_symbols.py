"""One spelling for all vendors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import BadParameter
from argo_mw_market import read_symbol


@pytest.mark.parametrize(
    ("text", "name", "crypto"),
    [
        ("AAPL", "AAPL", False),
        (" aapl ", "AAPL", False),
        ("BRK.B", "BRK.B", False),
        ("brk-b", "BRK.B", False),
        ("BRK/B", "BRK.B", False),
        ("T", "T", False),
        ("BTC-USD", "BTC-USD", True),
        ("btc/usd", "BTC-USD", True),
        ("X:BTCUSD", "BTC-USD", True),
        ("BTCUSD", "BTC-USD", True),
        ("BTCUSDT", "BTC-USDT", True),
        ("BTCBUSD", "BTC-BUSD", True),
        ("ETHBTC", "ETH-BTC", True),
    ],
)
def test_every_spelling_of_a_symbol_is_the_same_symbol(text: str, name: str, crypto: bool) -> None:
    symbol = read_symbol(text)
    assert name == symbol.name
    assert crypto == symbol.crypto


@pytest.mark.parametrize("text", ["METH", "ETHO", "BTCS", "ETH", "USD", "AUSD", "BTC"])
def test_letters_inside_a_ticker_make_no_crypto_pair(text: str) -> None:
    assert not read_symbol(text).crypto


@pytest.mark.parametrize("bad", ["", "   ", "A APL", "AAPL;DROP", "../etc", "LONGESTNAME", 7, None])
def test_invalid_symbols_are_refused(bad: object) -> None:
    with pytest.raises(BadParameter, match="symbol"):
        read_symbol(bad)


@given(st.from_regex(r"[A-Z]{1,5}(\.[A-Z])?|[A-Z]{3,6}[-/](USD|EUR|BTC)", fullmatch=True))
def test_reading_a_symbols_name_gives_the_symbol(text: str) -> None:
    symbol = read_symbol(text)
    assert symbol == read_symbol(symbol.name)
