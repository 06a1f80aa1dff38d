"""One of the processes: asks for each symbol on its standard input, with all callers at once."""

from __future__ import annotations

import asyncio
import json
import sys

from argo_mw import Argo


async def main(store: str, callers: int, takes: float) -> None:
    """Ask for each line of standard input, and print the results."""
    loads = 0
    block = ["market", "persist", "similarity", "compare", "llm", "metrics", "signals", "sandbox"]
    installed = _installed()
    argo = Argo.open({"argo": {"shared": store, "block": [n for n in block if n in installed]}})

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> str:
        nonlocal loads
        loads += 1
        print(f"loading {symbol}", file=sys.stderr, flush=True)
        await asyncio.sleep(takes)
        return symbol

    async with argo:
        print("ready", flush=True)
        while symbol := (await asyncio.to_thread(sys.stdin.readline)).strip():
            loads = 0
            answers = await asyncio.gather(*(quote(symbol) for _ in range(callers)))
            answered = sum(answer == symbol for answer in answers)
            print(json.dumps({"loads": loads, "answered": answered}), flush=True)


def _installed() -> list[str]:
    from importlib.metadata import entry_points

    return [entry.name for entry in entry_points(group="argo_mw")]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
