"""What the plugin registers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from attrs import evolve

from argo_mw.plugin import (
    AnyOperation,
    Clock,
    Codecs,
    Context,
    Guard,
    SystemClock,
    Upstream,
    UpstreamError,
    hookimpl,
)
from argo_mw_market import frames, news
from argo_mw_market.alpaca import Alpaca
from argo_mw_market.alphavantage import AlphaVantage
from argo_mw_market.config import MarketConfig
from argo_mw_market.hours import DAY, AgeLimits
from argo_mw_market.massive import Massive
from argo_mw_market.news import Article
from argo_mw_market.operations import bars, recent_news
from argo_mw_market.vendor import Vendor


class MarketPlugin:
    """The plugin, one for each application; it owns the vendors' connections."""

    def __init__(self) -> None:
        self._vendors: list[Vendor] = []
        self._retired: list[Vendor] = []
        self._clock: Clock = SystemClock()
        self._operations: list[AnyOperation] = [
            evolve(bars, accept=self._problem_of_bars),
            evolve(recent_news, accept=self._problem_of_news),
        ]

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.market]``."""
        return MarketConfig

    @hookimpl
    def register_codecs(self, codecs: Codecs) -> None:
        """Make articles storable."""
        codecs.register_fields(Article, "market.article")

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """Return the data types of its operations."""
        return ("market_data", "sentiment")

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return ``bars`` and ``news``, which take no answer from the future."""
        return self._operations

    @hookimpl
    def register_upstreams(self, config: MarketConfig, context: Context) -> Iterable[Upstream]:
        """Return the vendors, in the order in which they are asked by default."""
        self._clock = context.clock
        limits = AgeLimits(config.stale_days * DAY, config.stale_days_pairs * DAY)
        alpaca = Alpaca(config.alpaca, context, limits, config.max_decoded_bytes)
        massive = Massive(config.massive, context, limits, config.max_decoded_bytes)
        alphavantage = AlphaVantage(config.alphavantage, context, limits, config.max_decoded_bytes)
        self._retired += self._vendors
        self._vendors = [alpaca, massive, alphavantage]
        return [alpaca.upstream(), massive.upstream(), alphavantage.upstream()]

    @hookimpl
    def register_guards(self, upstream: Upstream) -> Iterable[Guard]:
        """Return the guard that believes Alpaca's own count of its quota."""
        return [
            v.guard() for v in self._vendors if isinstance(v, Alpaca) and v.name == upstream.name
        ]

    @hookimpl
    async def config_changed(self, context: Context) -> None:
        """Close the connections of replaced clients, once no request needs them."""
        retired, self._retired = self._retired, []
        for vendor in retired:
            context.tasks.spawn(f"market:retire:{vendor.name}", vendor.http.retire())

    @hookimpl
    async def diagnose(self) -> Iterable[tuple[str, bool, str]]:
        """Check that each vendor has a key and can be reached."""
        return await asyncio.gather(*(_diagnose(vendor) for vendor in self._vendors))

    @hookimpl
    async def shutdown(self) -> None:
        """Close all connections."""
        for vendor in (*self._vendors, *self._retired):
            await vendor.http.aclose()

    def _problem_of_bars(self, value: object) -> str | None:
        return frames.problem_of(value) or frames.future_of(value, self._clock.time())

    def _problem_of_news(self, value: object) -> str | None:
        return news.problem_of(value) or news.future_of(value, self._clock.time())


async def _diagnose(vendor: Vendor) -> tuple[str, bool, str]:
    what = f"upstream {vendor.name}"
    missing = vendor.keys.missing()
    if missing is not None:
        return what, False, missing
    try:
        # Any reply will do; this one is charged to no quota.
        await vendor.http.get("/")
    except UpstreamError as error:
        return what, False, str(error)
    return what, True, f"has a key and answers at {vendor.http.url}"
