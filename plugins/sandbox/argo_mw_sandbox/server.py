"""The sandbox: one loopback port, a path prefix per vendor, counts and an admin endpoint."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from aiohttp import web

from argo_mw_sandbox.admin import Change, read_change
from argo_mw_sandbox.assembly import build_exchange, default_now
from argo_mw_sandbox.clock import ReplayClock
from argo_mw_sandbox.config import SandboxConfig
from argo_mw_sandbox.counts import VendorCounts
from argo_mw_sandbox.endpoint import Endpoint
from argo_mw_sandbox.exchange import Exchange
from argo_mw_sandbox.faults import Fault
from argo_mw_sandbox.instruments import Instrument
from argo_mw_sandbox.latency import INSTANT, Latency
from argo_mw_sandbox.quotas import UNLIMITED, Meter, Quota
from argo_mw_sandbox.registry import VENDORS
from argo_mw_sandbox.sending import BREAKING, send, send_struck
from argo_mw_sandbox.vendors.protocol import VendorRequest, World, read_query

STOP_TIMEOUT = 1.0
"""Seconds that a handler may take to notice that its connection is gone."""


class Sandbox:
    """Loopback servers that speak the vendors' protocols.

    Use it as an asynchronous context manager on the loop that should serve::

        async with Sandbox(SandboxConfig()) as sandbox:
            base_url = sandbox.url("alpaca")

    Args:
        config: How it is set up; all defaults if omitted.

    Raises:
        ValueError: The configuration cannot be used.
        OSError: The port is taken.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self._config = config = config or SandboxConfig()
        if not ipaddress.ip_address(config.host).is_loopback:
            msg = f"the sandbox listens on loopback addresses only, not on {config.host}"
            raise ValueError(msg)
        self._exchange = build_exchange(config)
        self._clock = ReplayClock(config.now or default_now(self._exchange), speed=config.speed)
        self._endpoints: dict[str, Endpoint] = {}
        self._open_endpoints()
        self._runner: web.ServerRunner | None = None
        self._port = 0
        self._closing = False
        self._waiters: list[asyncio.Future[None]] = []
        self._answering: set[asyncio.Transport] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        server = web.Server(self._serve, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_TIMEOUT)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and drop what is in flight."""
        self._closing = True
        for transport in self._answering:
            transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def clock(self) -> ReplayClock:
        """The replayed now."""
        return self._clock

    @property
    def exchange(self) -> Exchange:
        """The symbols and their bars."""
        return self._exchange

    @property
    def vendors(self) -> tuple[str, ...]:
        """Names of the vendors."""
        return tuple(self._endpoints)

    def url(self, vendor: str = "") -> str:
        """Return the base URL to give to a vendor's client, or the sandbox's own.

        Raises:
            ValueError: There is no such vendor.
        """
        root = f"http://{self._config.host}:{self._port}"
        if not vendor:
            return root
        endpoint = self.endpoint(vendor)
        return f"{root}/{endpoint.vendor.name}"

    def counts(self) -> dict[str, dict[str, object]]:
        """Return what each vendor counted, as ``GET /__counts`` shows it."""
        return {name: endpoint.counts.as_dict() for name, endpoint in self._endpoints.items()}

    def counts_of(self, vendor: str) -> VendorCounts:
        """Return what one vendor counted.

        Raises:
            ValueError: There is no such vendor.
        """
        return self.endpoint(vendor).counts

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until *holds*, which is asked again whenever a request comes in or ends."""
        while not holds():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def idle(self) -> None:
        """Wait until no request is being answered."""
        await self.until(lambda: not any(d.counts.in_flight for d in self._endpoints.values()))

    def reset_counts(self) -> None:
        """Begin to count anew; requests in flight are carried over."""
        for endpoint in self._endpoints.values():
            endpoint.reset_counts()

    def set_fault(self, vendor: str, fault: Fault | str) -> None:
        """Arm a fault; a name alone strikes every request.

        Raises:
            ValueError: There is no such vendor, or it has no such fault.
        """
        chosen = Fault(fault) if isinstance(fault, str) else fault
        self.endpoint(vendor).faults.set(chosen, self._clock.monotonic())

    def clear_faults(self, vendor: str | None = None) -> None:
        """Disarm all faults, of one vendor or of all."""
        for endpoint in self._endpoints.values() if vendor is None else [self.endpoint(vendor)]:
            endpoint.faults.clear()

    def set_latency(self, vendor: str, latency: Latency) -> None:
        """Change the response times of *vendor* to *latency*."""
        self.endpoint(vendor).latency = latency

    def set_quota(self, vendor: str, quota: Quota) -> None:
        """Change the limits of *vendor* to *quota* and forget what was used of them."""
        self.endpoint(vendor).meter = Meter(quota)

    def endpoint(self, vendor: str) -> Endpoint:
        """Return the endpoint of *vendor*.

        Raises:
            ValueError: There is no such vendor.
        """
        endpoint = self._endpoints.get(vendor)
        if endpoint is None:
            msg = f"the sandbox has no vendor {vendor!r}; it has {', '.join(self._endpoints)}"
            raise ValueError(msg)
        return endpoint

    def apply(self, change: Change) -> None:
        """Carry out *change*, an admin request."""
        for vendor in change.clear_faults:
            self.clear_faults(None if vendor == "all" else vendor)
        for vendor, faults in change.faults.items():
            for fault in faults:
                self.set_fault(vendor, fault)
        for vendor, latency in change.latency.items():
            self.set_latency(vendor, latency)
        for vendor, quota in change.quotas.items():
            self.set_quota(vendor, quota)
        if change.now is not None or change.speed is not None:
            self._clock.set(change.now, speed=change.speed)
        if change.reset_counts:
            self.reset_counts()

    def state(self) -> dict[str, object]:
        """Return the replayed now and every vendor's settings, as plain data."""
        return {
            "now": self._clock.now().isoformat(),
            "speed": self._clock.speed,
            "vendors": {name: endpoint.state() for name, endpoint in self._endpoints.items()},
        }

    def symbols(self) -> list[dict[str, object]]:
        """Return every symbol: its market, where its days and minutes come from, its end."""
        return [_describe(each) for each in self._exchange]

    def _open_endpoints(self) -> None:
        config = self._config
        world = World(self._exchange, self._clock, config.seed, config.paid)
        for make in VENDORS:
            vendor = make(world)
            self._endpoints[vendor.name] = Endpoint(
                vendor,
                seed=config.seed,
                latency=config.latency.get(vendor.name, INSTANT),
                quota=config.quotas.get(vendor.name, UNLIMITED),
                keys=config.keys,
            )
        for name in (*config.latency, *config.quotas):
            self.endpoint(name)
        for name, faults in config.faults.items():
            for fault in faults:
                self.set_fault(name, fault)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        prefix, _, rest = path[1:].partition("/")
        endpoint = self._endpoints.get(prefix)
        if endpoint is None:
            return await self._serve_admin(request, path)
        # Massive's SDK puts the whole path of a next_url behind its base URL, prefix and all.
        rest = rest.removeprefix(prefix + "/")
        body = await request.read() if request.body_exists else b""
        received = VendorRequest(
            request.method,
            "/" + unquote(rest),
            read_query(query),
            request.headers,
            body,
            f"http://{request.host}/{prefix}",
        )
        return await self._serve_vendor(request, endpoint, received)

    async def _serve_vendor(
        self, request: web.BaseRequest, endpoint: Endpoint, received: VendorRequest
    ) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        self._answering.add(transport)
        endpoint.counts.in_flight += 1
        fault: Fault | None = None
        try:
            handling = endpoint.receive(received, self._clock.monotonic())
            self._notify()
            if handling.delay:
                await asyncio.sleep(handling.delay)
            answer = handling.error or endpoint.vendor.answer(received, handling.twist)
            fault = handling.fault
            if fault is None:
                headers = endpoint.vendor.headers(handling.standing, self._clock.time())
                response = await send(request, answer, headers, handling.delay)
            else:
                response = await send_struck(request, answer, fault)
            endpoint.answered(answer)
            return response
        except ConnectionError:
            self._lost(endpoint, fault)
            return web.Response()  # aiohttp finds that the connection is gone, and reports nothing
        except asyncio.CancelledError:
            self._lost(endpoint, fault)
            raise
        finally:
            endpoint.counts.in_flight -= 1
            self._answering.discard(transport)
            self._notify()

    def _lost(self, endpoint: Endpoint, fault: Fault | None) -> None:
        if fault is not None and fault.kind in BREAKING:
            endpoint.counts.broken += 1
        elif not self._closing:
            endpoint.counts.disconnects += 1

    def _notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _serve_admin(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if request.method == "POST" and path == "/__admin":
            try:
                self.apply(read_change(await request.read()))
            except ValueError as error:
                return _json({"error": str(error)}, 400)
        pages: dict[str, Callable[[], object]] = {
            "/__counts": self.counts,
            "/__admin": self.state,
            "/__symbols": self.symbols,
        }
        page = pages.get(path)
        if page is None:
            known = ", ".join([f"/{name}" for name in self._endpoints] + list(pages))
            return _json({"error": f"nothing at {path}; the sandbox has {known}"}, 404)
        return _json(page())


def _json(content: object, status: int = 200) -> web.Response:
    return web.json_response(content, status=status)


def _describe(instrument: Instrument) -> dict[str, object]:
    drawn = instrument.source == "synthetic"
    last = None if drawn else datetime.fromtimestamp(int(instrument.complete[-1]), UTC).isoformat()
    return {
        "symbol": instrument.symbol,
        "market": instrument.market.name,
        "source": instrument.source,
        "minutes": instrument.minutes_source,
        "last": last,
    }
