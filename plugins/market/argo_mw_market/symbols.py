"""Symbols: one spelling in keys and answers, another for each vendor, and the market of each.

Only the form is read. Preferred shares have a different spelling everywhere: series K of Bank of
America is ``BAC.PRK`` here and at Alpaca, ``BACpK`` on the tape and at Massive, ``BAC-P-K`` at
Alpha Vantage, ``BAC-PK`` at Yahoo and ``BAC^K`` at Nasdaq.
"""

from __future__ import annotations

import re

from attrs import frozen

from argo_mw.plugin import BadParameter

_MARKS = re.compile("[-./]")
_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}(\.[A-Z]{1,3})?")
_PAIR = re.compile(r"(?:X:)?(?P<base>[A-Z0-9]{2,10})[-/](?P<quote>[A-Z]{3,5})")
QUOTES = ("USDC", "USDT", "USD", "EUR", "GBP", "JPY", "BTC", "ETH")
"""What a pair without a separator may be priced in. None is the end of another one, so that such a
pair is read in one way only: with BUSD among them, SHIBUSD would be SHI in BUSD."""
_JOINED = re.compile(rf"(?:X:)?(?P<base>[A-Z0-9]{{2,10}}?)(?P<quote>{'|'.join(QUOTES)})")
_SEPARATOR = re.compile(r"[-/]")
_MAX_TICKER = 5
"""The most letters that a ticker in the United States has."""
_PREFERRED_ON_TAPE = re.compile(r"(?P<root>[A-Z]{1,5})p(?P<series>[A-Z]?)")
_PREFERRED = re.compile(
    r"(?P<root>[A-Z]{1,5})(?:[-./]PR[-./]?(?P<series>[A-Z]?)|-P-?(?P<other>[A-Z])|\^(?P<last>[A-Z]?))"
)
_MARKED = re.compile(
    r"(?P<root>[A-Z]{1,5})[-./](?P<mark>[ABCKRUW]|PR[A-Z]?|RT|UN|WS(?:[-./]?[A-Z])?)"
)
"""Shares in the United States with a mark: classes, preferred, rights, units and warrants."""


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

    @property
    def in_new_york(self) -> bool:
        """Return whether it has the form of a share in New York; of others no hours are known."""
        plain = len(self.name) <= _MAX_TICKER and self.name.isalpha()
        return plain or _MARKED.fullmatch(self.name) is not None


@frozen
class Spelling:
    """How a vendor writes symbols, as formats of their parts.

    Attributes:
        pair: A crypto pair, of ``base`` and ``quote``.
        share: A share in New York with a mark, of ``root`` and ``mark``: classes, units, warrants.
        preferred: A preferred share, of ``root`` and ``series``.
        plain_preferred: A preferred share without a series, of ``root``.
    """

    pair: str
    share: str
    preferred: str
    plain_preferred: str

    def of(self, symbol: Symbol) -> str:
        """Return the vendor's spelling of *symbol*."""
        if symbol.crypto:
            return self.pair.format(base=symbol.base, quote=symbol.quote)
        if _MARKED.fullmatch(symbol.name) is None:
            return symbol.name
        root, _, mark = symbol.name.partition(".")
        if not mark.startswith("PR"):
            return self.share.format(root=root, mark=mark)
        series = mark.removeprefix("PR")
        return (self.preferred if series else self.plain_preferred).format(root=root, series=series)


def read_symbol(text: object) -> Symbol:
    """Return the symbol that *text* spells.

    A pair is written ``BTC-USD``, ``BTC/USD``, ``X:BTCUSD`` or ``BTCUSD``: without a separator it
    is one only if it is longer than any ticker, so that METH and ETHO stay stocks. What has the
    form of a share with a mark, such as BAC-PRK, is no pair.

    Raises:
        BadParameter: It spells none.
    """
    if not isinstance(text, str):
        msg = f"a symbol is text, like 'AAPL'; got {text!r:.60}"
        raise BadParameter(msg)
    name = text.strip()
    # Other letters have capitals among these: the ligature of f and i would be the ticker FI.
    if not name.isascii():
        raise _no_symbol(text)
    preferred = _PREFERRED_ON_TAPE.fullmatch(name) or _PREFERRED.fullmatch(name.upper())
    if preferred is not None:
        root, *series = preferred.groups()
        return Symbol(f"{root}.PR{''.join(filter(None, series))}")
    name = name.upper()
    marked = _MARKED.fullmatch(name)
    if marked is not None:
        return Symbol(f"{marked['root']}.{_MARKS.sub('', marked['mark'])}")
    pair = _PAIR.fullmatch(name)
    if pair is None and len(name) > _MAX_TICKER:
        pair = _JOINED.fullmatch(name)
    if pair is not None:
        return Symbol(f"{pair['base']}-{pair['quote']}", pair["base"], pair["quote"])
    name = _SEPARATOR.sub(".", name, count=1)
    if _STOCK.fullmatch(name):
        return Symbol(name)
    raise _no_symbol(text)


def _no_symbol(text: str) -> BadParameter:
    msg = f"{text!r:.60} is not a symbol; write a stock like AAPL or BAC.PRK, a pair like BTC-USD"
    return BadParameter(msg)
