"""Symbols: one spelling for all vendors, and the market of each."""

from __future__ import annotations

import re

from attrs import frozen

from argo_mw.plugin import BadParameter

_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}(\.[A-Z]{1,3})?")
_PAIR = re.compile(r"(?:X:)?(?P<base>[A-Z0-9]{2,10})[-/](?P<quote>[A-Z]{3,5})")
_JOINED = re.compile(
    r"(?:X:)?(?P<base>[A-Z0-9]{2,10}?)(?P<quote>BUSD|USDC|USDT|USD|EUR|GBP|JPY|BTC|ETH)"
)
_MAX_TICKER = 5
"""The most letters that a ticker in the United States has."""


@frozen
class Symbol:
    """A stock or a crypto pair.

    Attributes:
        name: The one spelling that keys, subjects and answers use: ``AAPL``, ``BRK.B``,
            ``BTC-USD``.
        base: The coin of a crypto pair, else "".
        quote: The currency in which a crypto pair is priced, else "".
    """

    name: str
    base: str = ""
    quote: str = ""

    @property
    def crypto(self) -> bool:
        """Return whether it is a crypto pair, which trades around the clock."""
        return bool(self.base)


def read_symbol(text: object) -> Symbol:
    """Return the symbol that *text* spells.

    A pair is written ``BTC-USD``, ``BTC/USD``, ``X:BTCUSD`` or ``BTCUSD``: without a separator it
    is one only if it is longer than any ticker, so that METH and ETHO stay stocks.

    Raises:
        BadParameter: It spells none.
    """
    if not isinstance(text, str):
        msg = f"a symbol is text, like 'AAPL'; got {text!r}"
        raise BadParameter(msg)
    name = text.strip().upper()
    pair = _PAIR.fullmatch(name)
    if pair is None and len(name) > _MAX_TICKER:
        pair = _JOINED.fullmatch(name)
    if pair is not None:
        return Symbol(f"{pair['base']}-{pair['quote']}", pair["base"], pair["quote"])
    name = re.sub(r"[-/]", ".", name, count=1)
    if _STOCK.fullmatch(name):
        return Symbol(name)
    msg = f"{text!r} is no symbol; write a stock like AAPL or BRK.B, or a pair like BTC-USD"
    raise BadParameter(msg)
