"""An application on real servers, in which everything happens that has a metric."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest
from attrs import define
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from argo_mw import Argo, Cost, Outcome, UpstreamError
from argo_mw.plugin import (
    Action,
    Call,
    Charge,
    Context,
    Layer,
    Limits,
    Next,
    Stream,
    Upstream,
    context_of,
    hookimpl,
    operation,
)
from argo_mw.testing import Scripted
from argo_mw_cache.plugin import CachePlugin
from argo_mw_coalesce import plugin as coalesce_plugin
from argo_mw_gateway.plugin import GatewayPlugin
from argo_mw_http.plugin import HttpPlugin
from argo_mw_llm import LlmPlugin
from argo_mw_metrics.plugin import MetricsPlugin
from argo_mw_persist import PersistPlugin, store_of
from argo_mw_persist.testing import Postgres, postgres
from argo_mw_race import plugin as race_plugin
from argo_mw_redis import plugin as redis_plugin
from argo_mw_redis.testing import RealServer, servers


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


@operation(kind="llm", subject="")
def ask(prompt: str, *, stream: bool = False) -> object:
    """What a model says."""


@operation(subject="symbol")
def scarce(symbol: str) -> object:
    """What may be asked once a day."""


@operation(kind="compute", subject="symbol")
def verdict(symbol: str) -> object:
    """What to do about one symbol."""


THOUGHT = Cost(
    0.25, 100, 20, 1.0, model="opus-6", tokens_cached=60, tokens_written=30, tokens_reasoned=15
)


class Asked:
    """The operations of the application, and who answers them."""

    def __init__(self) -> None:
        self.context: Context | None = None

    @hookimpl(optionalhook=True)
    def register_gen_ai_providers(self) -> Mapping[str, str]:
        return {"opus": "anthropic"}

    @hookimpl
    def register_operations(self) -> list[object]:
        return [bars, ask, verdict, scarce]

    @hookimpl
    def register_upstreams(self, context: Context) -> list[Upstream]:
        self.context = context
        one, other = (Scripted(name, {"bars"}, self._bars(name)).upstream for name in "ab")
        return [
            one,
            other,
            Upstream("opus", ["ask"], self._ask, retries=0),
            Scripted("computes", {"verdict"}).upstream,
            Scripted("limited", {"scarce"}, limits=Limits(per_day=1)).upstream,
        ]

    def _bars(self, name: str) -> object:
        def answer(call: Call) -> object:
            if call.subject.startswith("BAD"):
                raise UpstreamError("down", upstream=name, action=Action.STOP)
            cost = Cost(None) if call.subject.startswith("FREE") else Cost(0.5)
            return Outcome(call.subject, cost=cost)

        return answer

    async def _ask(self, call: Call) -> Outcome:
        if "fail" in str(call.parameters["prompt"]):
            raise UpstreamError("overloaded", upstream="opus", action=Action.STOP)
        if not call.parameters["stream"]:
            return Outcome("yes", cost=THOUGHT)
        assert self.context is not None
        stream = Stream(_pieces(), self.context.tasks)
        stream.on_done(lambda done: setattr(done, "cost", THOUGHT))
        return Outcome(stream, cost=Cost(model=THOUGHT.model))


async def _pieces() -> AsyncIterator[str]:
    yield "y"
    yield "es"


class Broken:
    """A layer with a bug."""

    @hookimpl
    def register_layers(self) -> list[Layer]:
        return [Layer("broken", self._fail, slot="adaptive_ttl")]

    async def _fail(self, call: Call, call_next: Next) -> Outcome:
        raise ValueError("a bug")


@define
class Lively:
    """The application."""

    argo: Argo
    metrics: MetricsPlugin
    round: int = 0

    @property
    def context(self) -> Context:
        return context_of(self.argo)

    async def act(self) -> None:
        """Let everything happen once that has a metric."""
        self.round += 1
        argo, context, number = self.argo, self.context, self.round
        for symbol in ("AAPL", "IBM", f"S{number}", f"FREE{number}"):
            for _ in range(2):
                await argo.call("bars", symbol=symbol)
            await argo.call("verdict", symbol=symbol)
        await asyncio.gather(
            argo.call("bars", symbol=f"BAD{number}"),
            argo.call("ask", prompt=f"fail {number}"),
            argo.call("scarce", symbol=f"S{number}"),
            argo.call("scarce", symbol=f"T{number}"),
            argo.call("complete", messages="Why?", model="glm-5.3"),
            return_exceptions=True,
        )
        await argo.call("ask", prompt=f"{number}")
        stream = await argo.call("ask", prompt=f"{number}", stream=True)
        assert ["y", "es"] == [piece async for piece in stream.read()]
        call = context._runtime.make_call("bars", "", {"symbol": "AAPL"})
        if (refresh := context.refresh(call)) is not None:
            await refresh.wait()
        audited = await context.ask_afresh(call)
        context.report_shadow("adaptive_ttl", call, audited, kept=Outcome("other"))
        context.record_charge(
            Charge(0.0, "", "ask", "", "opus", "saved", Cost(0.25), layer="cache")
        )
        context.report("here", "something that people should know of")

    async def text(self) -> str:
        """What Prometheus reads."""
        url = f"http://127.0.0.1:{self.metrics.port}/metrics"
        return (await asyncio.to_thread(lambda: urlopen(url).read())).decode()

    async def families(self) -> list[Family]:
        """The same, by the official parser."""
        return list(text_string_to_metric_families(await self.text()))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealServer]:
    with servers(tmp_path) as start:
        yield start("--maxmemory", "64mb")


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
async def lively(redis: RealServer, database: Postgres, tmp_path: Path) -> AsyncIterator[Lively]:
    metrics = MetricsPlugin()
    argo = Argo.open(
        {
            "argo": {"shared": redis.url, "strict": True, "state_dir": str(tmp_path / "state")},
            "plugins": {
                "metrics": {"port": 0, "gen_ai": True},
                "cache": {"max_entries": 7, "max_bytes": 5_000},
                "race": {"strategy": "race"},
                "persist": {"url": database.database("lively"), "answers": ["bars"]},
                "llm": {
                    "budgets": [{"usd": 1e-6}],
                    "providers": {"glm": {"url": "http://127.0.0.1:9", "key": "any-key"}},
                },
            },
            "flags": {"cache": {"percent": 50}},
        },
        plugins={
            "metrics": metrics,
            "cache": CachePlugin,
            "coalesce": coalesce_plugin,
            "race": race_plugin,
            "redis": redis_plugin,
            "persist": PersistPlugin,
            "broken": Broken(),
            "gateway": GatewayPlugin,
            "http": HttpPlugin,
            "llm": LlmPlugin,
            "asked": Asked(),
        },
        installed=False,
    )
    async with argo:
        alive = Lively(argo, metrics)
        await alive.act()
        await store_of(argo).flush()
        yield alive
