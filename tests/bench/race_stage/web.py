"""Two vendors of the sandbox as upstreams, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import httpx2

from argo_mw import Argo, Outcome, UpstreamError
from argo_mw.plugin import Call, Upstream, operation
from argo_mw.testing import FakePlugin
from argo_mw_race import plugin as race_plugin
from argo_mw_sandbox import Fault, Latency, SandboxConfig, SandboxProcess

LATENCY = Latency(median=0.020, sigma=0.4, stall_share=0.02, stall=0.180)
"""Median 20 ms; two in a hundred requests take ten times as long."""

SLOTS = 20
SLOT_TIMEOUT = 2.0

PATHS = {
    "alpaca": "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2013-02-20&end=2013-02-25",
    "massive": "/v2/aggs/ticker/AAPL/range/1/day/2013-02-20/2013-02-25",
}
HEADERS = {
    "APCA-API-KEY-ID": "bench",
    "APCA-API-SECRET-KEY": "bench",
    "Authorization": "Bearer bench",
}


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


class WebUpstream:
    """Asks one vendor of the sandbox.

    Attributes:
        client: Its connections.
    """

    def __init__(self, name: str, sandbox: SandboxProcess) -> None:
        self._url = sandbox.url(name) + PATHS[name]
        limits = httpx2.Limits(max_connections=SLOTS, max_keepalive_connections=SLOTS)
        timeout = httpx2.Timeout(30.0, pool=SLOT_TIMEOUT)
        self.name = name
        self.client = httpx2.AsyncClient(limits=limits, timeout=timeout, headers=HEADERS)
        self.upstream = Upstream(name, {"bars"}, self.fetch, retries=0)

    async def fetch(self, call: Call) -> Outcome:
        """The vendor's answer, unread beyond its JSON."""
        response = await self.client.get(self._url)
        if response.status_code != httpx2.codes.OK:
            msg = f"{self.name} answered {response.status_code}"
            raise UpstreamError(msg, upstream=self.name, status=response.status_code)
        return Outcome(response.json())

    async def lost_slots(self) -> int:
        """How many of the connection pool's slots can no longer be taken."""
        tasks = [asyncio.create_task(self.client.get(self._url)) for _ in range(SLOTS)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(isinstance(one, BaseException) for one in results)


@contextlib.asynccontextmanager
async def sandbox(
    seed: int,
    latency: Mapping[str, Latency] | None = None,
    faults: Mapping[str, tuple[Fault, ...]] | None = None,
) -> AsyncIterator[SandboxProcess]:
    """A sandbox in a process of its own."""
    config = SandboxConfig(
        seed=seed,
        latency=latency or dict.fromkeys(PATHS, LATENCY),
        faults=faults or {},
    )
    process = SandboxProcess(config)
    await asyncio.to_thread(process.__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


@contextlib.asynccontextmanager
async def application(
    process: SandboxProcess, *vendors: str, **race: object
) -> AsyncIterator[tuple[Argo, list[WebUpstream]]]:
    """An application that asks *vendors*, with the race plugin configured by *race*."""
    upstreams = [WebUpstream(name, process) for name in vendors]
    asked = FakePlugin(operations=[bars], upstreams=[one.upstream for one in upstreams])
    argo = Argo.open(
        {"argo": {"shared": "memory://", "strict": True}, "plugins": {"race": race}},
        plugins={"race": race_plugin, "asked": asked},
        installed=False,
    )
    try:
        async with argo:
            yield argo, upstreams
    finally:
        for one in upstreams:
            await one.client.aclose()
