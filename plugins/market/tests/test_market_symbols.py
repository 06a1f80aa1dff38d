"""One spelling for all vendors."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from argo_mw import BadParameter
from argo_mw_market import alpaca, alphavantage, massive, read_symbol
from argo_mw_market.symbols import QUOTES, Spelling


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
        ("BTCUSDC", "BTC-USDC", True),
        ("SHIBUSD", "SHIB-USD", True),
        ("X:BNBUSD", "BNB-USD", True),
        ("ARBUSD", "ARB-USD", True),
        ("BTC-BUSD", "BTC-BUSD", True),
        ("ETHBTC", "ETH-BTC", True),
        ("BAC.PRK", "BAC.PRK", False),
        ("BAC-PRK", "BAC.PRK", False),
        ("bac/prk", "BAC.PRK", False),
        ("BAC.PR.K", "BAC.PRK", False),
        ("BACpK", "BAC.PRK", False),
        ("BAC-PK", "BAC.PRK", False),
        ("BAC-P-K", "BAC.PRK", False),
        ("BAC^K", "BAC.PRK", False),
        ("ABRpD", "ABR.PRD", False),
        ("Cp", "C.PR", False),
        ("ABRPD", "ABRPD", False),
        ("ACHR/WS", "ACHR.WS", False),
        ("ACHR-WSA", "ACHR.WSA", False),
        ("ACHR.WS.A", "ACHR.WSA", False),
        ("GIG-U", "GIG.U", False),
    ],
)
def test_every_spelling_of_a_symbol_is_the_same_symbol(text: str, name: str, crypto: bool) -> None:
    symbol = read_symbol(text)
    assert name == symbol.name
    assert crypto == symbol.crypto


@pytest.mark.parametrize("text", ["METH", "ETHO", "BTCS", "ETH", "USD", "AUSD", "BTC"])
def test_letters_inside_a_ticker_make_no_crypto_pair(text: str) -> None:
    assert not read_symbol(text).crypto


@given(st.from_regex(r"[A-Z0-9]{3,10}", fullmatch=True), st.sampled_from(QUOTES))
def test_a_pair_without_a_separator_has_one_reading(base: str, quote: str) -> None:
    symbol = read_symbol(base + quote)
    assert (base, quote) == (symbol.base, symbol.quote)


@given(st.text(min_size=1).filter(lambda text: not text.strip().isascii()))
@example("\ufb01")
@example("\u017fPY")
@example("A\u0131G")
def test_letters_beyond_ascii_are_never_read_as_a_ticker(text: str) -> None:
    with pytest.raises(BadParameter, match="is not a symbol"):
        read_symbol(text)


def test_an_error_repeats_the_beginning_of_what_is_no_symbol() -> None:
    with pytest.raises(BadParameter) as raised:
        read_symbol("A" * 1_000_000)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("bad", ["", "   ", "A APL", "AAPL;DROP", "../etc", "LONGESTNAME", 7, None])
def test_invalid_symbols_are_refused(bad: object) -> None:
    with pytest.raises(BadParameter, match="symbol"):
        read_symbol(bad)


@pytest.mark.parametrize(
    ("symbol", "at_alpaca", "at_massive", "at_alphavantage"),
    [
        ("AAPL", "AAPL", "AAPL", "AAPL"),
        ("BRK.B", "BRK.B", "BRK.B", "BRK-B"),
        ("BAC.PRK", "BAC.PRK", "BACpK", "BAC-P-K"),
        ("C.PR", "C.PR", "Cp", "C-P"),
        ("ACHR.WS", "ACHR.WS", "ACHR.WS", "ACHR-WS"),
        ("GIG.U", "GIG.U", "GIG.U", "GIG-U"),
        ("VOD.LON", "VOD.LON", "VOD.LON", "VOD.LON"),
        ("BTC-USD", "BTC/USD", "X:BTCUSD", "CRYPTO:BTC"),
    ],
)
def test_each_vendor_has_its_own_spelling(
    symbol: str, at_alpaca: str, at_massive: str, at_alphavantage: str
) -> None:
    read = read_symbol(symbol)
    assert at_alpaca == alpaca.SPELLING.of(read)
    assert at_massive == massive.SPELLING.of(read)
    assert at_alphavantage == alphavantage.SPELLING.of(read)


SPELLINGS = [alpaca.SPELLING, alpaca.NEWS_SPELLING, massive.SPELLING, alphavantage.SPELLING]
ROOTS = st.from_regex(r"[A-Z]{1,4}", fullmatch=True)
MARKS = st.from_regex(r"[ABCKRUW]|PR[A-Z]|RT|UN|WS[A-Z]?", fullmatch=True)


@given(st.sampled_from(SPELLINGS), st.builds("{}.{}".format, ROOTS, MARKS) | ROOTS)
def test_what_a_vendor_writes_is_read_as_the_share_that_it_means(
    spelling: Spelling, name: str
) -> None:
    """Also in news, where symbols come from the vendor."""
    symbol = read_symbol(name)
    assert not symbol.crypto
    assert symbol.in_new_york
    assert name == symbol.name
    assert symbol == read_symbol(spelling.of(symbol))


@pytest.mark.parametrize(
    "text", ["VOD.LON", "RELIANCE.BSE", "SHOP.TO", "VOD.L", "ESU6", "WIFUSDTM"]
)
def test_what_has_not_the_form_of_a_share_in_new_york_has_no_known_hours(text: str) -> None:
    assert not read_symbol(text).in_new_york


@given(st.from_regex(r"[A-Z]{1,5}(\.[A-Z])?|[A-Z]{3,6}[-/](USD|EUR|BTC)", fullmatch=True))
def test_reading_a_symbols_name_gives_the_symbol(text: str) -> None:
    symbol = read_symbol(text)
    assert symbol == read_symbol(symbol.name)
