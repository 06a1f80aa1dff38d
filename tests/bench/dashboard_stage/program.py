"""A program that makes so many calls a second, and prints its CPU time for each line it reads.

Usage: ``python -m tests.bench.dashboard_stage.program CONFIG RATE SYMBOLS``.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time

from argo_mw import Argo

_TICK = 0.01
_AFRESH = 60
"""Of so many calls one asks afresh. Answers that expired would be loaded in waves, of which one
slice would have more than another."""


async def main(config: str, rate: float, symbols: int) -> None:
    """Call until standard input ends."""
    argo = Argo.open(config)

    # Prices, so that the page has a line for each symbol to show.
    @argo.wrap(name="quote", subject="symbol", ttl="1h", data_type="market_data")
    async def quote(symbol: str) -> list[dict[str, float]]:
        await asyncio.sleep(0.001)
        minute = time.time() // 60 * 60
        return [{"t": minute - 60 * n, "c": 187.2 + n % 3} for n in range(10, 0, -1)]

    async with argo:
        names = [f"S{n:04}" for n in range(symbols)]
        afresh = argo.options(refresh=True)
        calling = asyncio.create_task(_call(quote, afresh, names, rate))
        reader = await _stdin()
        print("ready", flush=True)
        while await reader.readline():
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"{time.process_time()} {memory} {_made}", flush=True)
        calling.cancel()


_made = 0


async def _call(quote, afresh, names, rate):  # type: ignore[no-untyped-def]
    global _made  # noqa: PLW0603 (what the program has done)
    dice = random.Random(7)
    due = time.monotonic()
    while True:
        for _ in range(round(rate * _TICK)):
            symbol = dice.choice(names)
            if _made % _AFRESH:
                await quote(symbol)
            else:
                await afresh.call("quote", symbol=symbol)
            _made += 1
        due += _TICK
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
