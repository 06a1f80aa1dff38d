"""Rules: which calendar a symbol follows, by its form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

ALWAYS_OPEN = "24/7"
FOREX = "24/5"

_COINS = (
    "AAVE ADA ALGO APE APT ARB ATOM AVAX AXS BAT BCH BNB BONK BSV BTC BTG CHZ COMP CRV DAI DASH "
    "DOGE DOT EGLD ENJ ENS EOS ETC ETH FIL FLOKI FLOW FTM GALA GRT HBAR ICP IMX INJ IOTA KAVA KSM "
    "LDO LINK LTC LUNA MANA MATIC MKR NEAR NEO OMG ONT OP PEPE POL QTUM RNDR RUNE SAND SEI SHIB "
    "SNX SOL STX SUI SUSHI THETA TIA TON TRX UNI USDC USDT VET WAVES WBTC WLD XBT XLM XMR XRP XTZ "
    "YFI ZEC ZRX"
)
_VENUES = (
    "X C BINANCE BITFINEX BITMEX BITSTAMP BYBIT COINBASE CRYPTO GDAX GEMINI HUOBI KRAKEN KUCOIN "
    "OKEX OKX POLONIEX"
)
_FIAT = "AUD BRL CAD CHF CNY DKK EUR GBP HKD INR JPY KRW MXN NOK NZD SEK SGD TRY USD ZAR"
COINS = frozenset(_COINS.split())
FIAT = frozenset(_FIAT.split())
_PAIR_VENUES = frozenset(_VENUES.split())
STABLE = frozenset(["BUSD", "DAI", "FDUSD", "TUSD", "USDC", "USDT"])
_QUOTES = FIAT | STABLE | {"BTC", "ETH", "BNB"}
_SPLIT = re.compile(r"[-/_]")

SUFFIXES: Mapping[str, str] = {
    "AS": "XAMS",
    "AX": "XASX",
    "BR": "XBRU",
    "CO": "XCSE",
    "DE": "XETR",
    "HE": "XHEL",
    "HK": "XHKG",
    "KS": "XKRX",
    "L": "XLON",
    "MC": "XMAD",
    "MI": "XMIL",
    "NS": "XBOM",
    "PA": "XPAR",
    "SI": "XSES",
    "SS": "XSHG",
    "ST": "XSTO",
    "SW": "XSWX",
    "SZ": "XSHG",
    "T": "XTKS",
    "TO": "XTSE",
    "TW": "XTAI",
}
"""The exchange that a symbol's suffix (``VOD.L``, ``7203.T``) stands for."""


def pair_of(symbol: str) -> tuple[str, str] | None:
    """Return base and quote when *symbol* has the form of a currency pair, else ``None``.

    ``BTC-USD``, ``BTC/USD``, ``BTCUSD``, ``COINBASE:BTCUSD``, ``X:BTCUSD`` and ``C:EURUSD`` are
    pairs. Letters inside a ticker make none: METH, ETHO and BTCS are stocks.
    """
    venue, _, name = symbol.upper().rpartition(":")
    parts = _SPLIT.split(name)
    if len(parts) == 2:
        base, quote = parts
        return (base, quote) if base.isalnum() and len(base) > 1 and quote in _QUOTES else None
    marked = venue in _PAIR_VENUES
    for quote in sorted(_QUOTES, key=len, reverse=True):
        base = name.removesuffix(quote)
        if base and base != name and (marked or base in COINS or base in FIAT):
            return base, quote
    return None


def calendar_of(symbol: str, rules: Mapping[str, str], default: str) -> str:
    """Return the name of the calendar that *symbol* follows.

    *rules* are calendars by pattern (``*.L``), tried first, in their order; *default* is the
    calendar of symbols that no rule knows.
    """
    for pattern, name in rules.items():
        if fnmatchcase(symbol, pattern):
            return name
    pair = pair_of(symbol)
    if pair is not None:
        return FOREX if pair[0] in FIAT and pair[1] in FIAT else ALWAYS_OPEN
    stem, dot, suffix = symbol.upper().rpartition(".")
    return SUFFIXES.get(suffix, default) if dot and stem else default
