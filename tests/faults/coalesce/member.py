"""One of the processes that share a store, with many callers of one question.

Usage: member.py STORE STATE CALLERS LEASE_TTL. Each line of standard input is ``SYMBOL SECONDS``: all
callers ask for SYMBOL at once; a load takes SECONDS. On standard output: ``loading`` for each load
that begins, then ``answered COUNT LOADS LONGEST LOADER…``, LONGEST being the longest wait in
seconds, each LOADER a process that loaded what was answered.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import structlog

import argo_mw_cache
import argo_mw_coalesce.plugin
import argo_mw_redis.plugin
from argo_mw import Argo

PLUGINS = {
    "cache": argo_mw_cache.CachePlugin,
    "coalesce": argo_mw_coalesce.plugin,
    "redis": argo_mw_redis.plugin,
}


async def main(store: str, callers: int, lease_ttl: float) -> None:
    """Ask what standard input demands until it ends."""
    loads = 0
    takes = 0.0
    argo = Argo.open(
        {
            "argo": {"shared": store, "strict": True},
            "plugins": {"coalesce": {"lease_ttl": lease_ttl}},
        },
        plugins=PLUGINS,
        installed=False,
    )

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> tuple[str, int]:
        nonlocal loads
        loads += 1
        print("loading", flush=True)
        await asyncio.sleep(takes)
        return symbol, os.getpid()

    async def caller(symbol: str) -> tuple[bool, float, int]:
        started = time.monotonic()
        answer, loader = await quote(symbol)
        return answer == symbol, time.monotonic() - started, loader

    async with argo:
        print("ready", flush=True)
        while words := (await asyncio.to_thread(sys.stdin.readline)).split():
            loads, takes = 0, float(words[1])
            answers = await asyncio.gather(*(caller(words[0]) for _ in range(callers)))
            answered = sum(right for right, _, _ in answers)
            longest = max(waited for _, waited, _ in answers)
            print("answered", answered, loads, longest, *{by for _, _, by in answers}, flush=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    os.environ["ARGO_MW_STATE_DIR"] = sys.argv[2]
    asyncio.run(main(sys.argv[1], int(sys.argv[3]), float(sys.argv[4])))
