"""Rules: which calendar a symbol follows, by its form.

A symbol whose market is not known counts as open: a price that is fetched too often costs a
request, one that is kept while its market trades costs money. So only a symbol in the form of a New
York ticker is taken for one, and only a suffix or prefix that names an exchange gives it that
exchange's hours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from argo_mw_adaptive_ttl.exchanges import AMBIGUOUS, calendar_of_code, calendar_of_suffix

ALWAYS_OPEN = "24/7"
FOREX = "24/5"
UNKNOWN = "unknown"
"""The calendar of symbols whose market is not known: it counts as open."""

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
_LONGEST_FIRST = tuple(sorted(_QUOTES, key=len, reverse=True))
_YAHOO_CURRENCY = "=X"
_SPLIT = re.compile(r"[-/_]")

_MIN_JOINED = 6
"""The fewest letters of a pair without separator: one more than a ticker in New York has."""
_NEW_YORK = re.compile(r"[A-Z]{1,5}([-./]([ABCKRUW]|PR[A-Z]?|P[A-Z]|RT|UN|WS[A-Z]?))?")
"""Tickers, also of classes of shares, preferred shares, rights, units and warrants."""
_NEW_YORK_PREFERRED = re.compile(r"[A-Z]{1,5}p[A-Z]?")
"""Preferred shares as the consolidated tape has them: ``ABRpD``."""


def pair_of(symbol: str) -> tuple[str, str] | None:
    """Return base and quote when *symbol* has the form of a currency pair, else ``None``.

    ``BTC-USD``, ``BTC/USD``, ``BTCUSD``, ``COINBASE:BTCUSD``, ``X:BTCUSD``, ``C:EURUSD`` and
    ``BTC/USDT:USDT`` are pairs. Letters inside a ticker make none: METH, ETHO and BTCS are stocks.
    """
    name, venue = _without_venue(symbol.upper())
    parts = _SPLIT.split(name)
    if len(parts) == 2:
        base, quote = parts
        return (base, quote) if base.isalnum() and len(base) > 1 and quote in _QUOTES else None
    if not name.endswith(_LONGEST_FIRST):
        return None
    marked = venue in _PAIR_VENUES
    for quote in _LONGEST_FIRST:
        base = name.removesuffix(quote)
        if not base or base == name or not base.isalnum():
            continue
        if marked or base in COINS or base in FIAT or len(name) >= _MIN_JOINED:
            return base, quote
    return None


def _without_venue(symbol: str) -> tuple[str, str]:
    """Return the name in ``VENUE:NAME``, and the venue; of ``BASE/QUOTE:SETTLEMENT`` the pair."""
    first, colon, second = symbol.partition(":")
    if not colon:
        return symbol, ""
    return (first, "") if "/" in first else (second, first)


def calendar_of(symbol: str, rules: Mapping[str, str], default: str) -> str:
    """Return the name of the calendar that *symbol* follows, or :data:`UNKNOWN`.

    *rules* are calendars by pattern (``*.L``), tried first, in their order; *default* is the
    calendar of tickers that have the form of those in New York.
    """
    for pattern, name in rules.items():
        if fnmatchcase(symbol, pattern):
            return name
    if not symbol.isascii():
        return UNKNOWN  # the capitals of other letters may be those of a ticker
    if symbol.upper().endswith(_YAHOO_CURRENCY):
        return FOREX
    pair = pair_of(symbol)
    if pair is not None:
        return FOREX if pair[0] in FIAT and pair[1] in FIAT else ALWAYS_OPEN
    return _exchange_of(symbol, default) or UNKNOWN


def _exchange_of(symbol: str, default: str) -> str | None:
    """Return the calendar of the exchange that *symbol* names, or has the form of."""
    venue, colon, _ = symbol.upper().partition(":")
    if colon:
        return calendar_of_code(venue)
    stem, dot, suffix = symbol.upper().rpartition(".")
    if dot and stem:
        if suffix in AMBIGUOUS:
            return None
        name = calendar_of_suffix(suffix)
        if name is not None:
            return name
    if _NEW_YORK.fullmatch(symbol.upper()) or _NEW_YORK_PREFERRED.fullmatch(symbol):
        return default
    return None
