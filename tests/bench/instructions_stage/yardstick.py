"""Work that is never changed: by it is seen whether counts are of the same Python as those recorded."""

from __future__ import annotations


class _Quote:
    def __init__(self, symbol: str, price: float) -> None:
        self.symbol = symbol
        self.price = price

    @property
    def text(self) -> str:
        return f"{self.symbol}:{self.price:.2f}"


async def work() -> int:
    """Call, await, make, look up, compare, raise and catch."""
    quotes = {symbol: _Quote(symbol, float(n)) for n, symbol in enumerate(("AAPL", "MSFT", "TSLA"))}
    total = 0
    for symbol in ("AAPL", "TSLA", "NONE"):
        try:
            total += len(await _text(quotes, symbol))
        except KeyError:
            total += 1
    return total + sum(sorted(len(symbol) for symbol in quotes))


async def _text(quotes: dict[str, _Quote], symbol: str) -> str:
    return quotes[symbol].text
