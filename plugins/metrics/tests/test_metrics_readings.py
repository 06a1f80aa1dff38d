"""Metrics are read from what the chain counts: by Prometheus, over OTLP, by the program's provider."""

from __future__ import annotations

import asyncio
import gzip
import sys
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import ClassVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    InMemoryMetricReader,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    Sum,
)
from prometheus_client.parser import text_string_to_metric_families

from argo_mw import Argo, Cost, Outcome, PluginError, UpstreamError
from argo_mw.config import parse
from argo_mw.plugin import (
    Counts,
    Histogram,
    InstanceCounts,
    ModelCounts,
    UpstreamCounts,
    context_of,
    load_or_create_token,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw.testing.shared import eventually
from argo_mw_cache.plugin import CachePlugin
from argo_mw_metrics import MetricsPlugin
from argo_mw_metrics.catalog import CATALOG
from argo_mw_metrics.gen_ai import GEN_AI, is_opted_in, model_points
from argo_mw_metrics.metric import LONGEST_VALUE
from argo_mw_metrics.moment import Moment
from argo_mw_metrics.otlp import exponential
from argo_mw_metrics.prometheus import MAX_CLIENTS, buckets

from .conftest import Lively


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


@operation(kind="compute", subject="symbol")
def verdict(symbol: str) -> object:
    """What to do about one symbol."""


class Kept(MetricExporter):
    """Keeps what is exported."""

    def __init__(self, *results: MetricExportResult) -> None:
        super().__init__()
        self.exported: list[MetricsData] = []
        self.ended = False
        self._results = list(results)

    def export(self, data: MetricsData, timeout_millis: float = 0, **_: object):
        self.exported.append(data)
        return self._results.pop(0) if self._results else MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: object) -> None:
        self.ended = True

    def latest(self) -> dict[str, Metric]:
        return named(self.exported[-1])


def named(data: MetricsData | None) -> dict[str, Metric]:
    resources = () if data is None else data.resource_metrics
    return {m.name: m for r in resources for s in r.scope_metrics for m in s.metrics}


class Opened:
    """An application with the plugin, its upstream, and a cache."""

    def __init__(
        self,
        *upstreams: Scripted,
        config: Mapping[str, object] | None = None,
        plugin: MetricsPlugin | None = None,
        flags: Mapping[str, object] | None = None,
        strict: bool = True,
    ) -> None:
        self.clock = FakeClock()
        self.plugin = plugin or MetricsPlugin()
        self.argo = Argo.open(
            {
                "argo": {"shared": "memory://", "strict": strict},
                "plugins": {"metrics": {"port": 0} if config is None else config},
                "flags": {"metrics": "off", **(flags or {})},
            },
            clock=self.clock,
            plugins={
                "metrics": self.plugin,
                "cache": CachePlugin,
                "asked": FakePlugin(
                    operations=[bars, verdict], upstreams=upstreams or [Scripted("a", {"bars"})]
                ),
            },
            installed=False,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.plugin.port}/metrics"

    async def samples(self) -> dict[str, dict[tuple[str, ...], float]]:
        """What Prometheus reads: by sample, by the values of its labels."""
        text = (await asyncio.to_thread(lambda: urlopen(self.url).read())).decode()
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values = tuple(value for value in sample.labels.values() if value)
                found.setdefault(sample.name, {})[values] = sample.value
        return found


async def test_calls_requests_and_costs_are_counted():
    spent = Scripted("a", {"bars"}, Outcome("bars", cost=Cost(0.5)))
    opened = Opened(spent)
    async with opened.argo as argo:
        for symbol in ("AAPL", "IBM", "AAPL"):
            await argo.call("bars", symbol=symbol)
        seen = await opened.samples()
    assert {("bars", "upstream"): 2, ("bars", "cache"): 1} == seen["argo_mw_calls_total"]
    assert {("bars", "a"): 2} == seen["argo_mw_upstream_requests_total"]
    assert {("bars", "ok", "a"): 2} == seen["argo_mw_upstream_attempts_total"]
    assert {("bars", "a"): 1.0} == seen["argo_mw_cost_USD_total"]
    waited = seen["argo_mw_call_duration_seconds_count"]
    assert {("bars", "true"): 2, ("bars", "false"): 1} == waited
    assert {("cache", "bars"): 1} == seen["argo_mw_saved_requests_total"]


async def test_errors_are_counted_by_their_class():
    opened = Opened(Scripted("a", {"bars"}, UpstreamError("down", upstream="a"), retries=0))
    async with opened.argo as argo:
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="AAPL")
        seen = await opened.samples()
    assert 1 == seen["argo_mw_calls_total"]["bars", "UpstreamError"]
    assert {("bars", "failed", "a"): 1} == seen["argo_mw_upstream_attempts_total"]


async def test_computed_operations_are_no_requests_to_upstreams():
    opened = Opened(Scripted("computes", {"verdict"}))
    async with opened.argo as argo:
        for _ in range(2):
            await argo.call("verdict", symbol="AAPL")
        seen = await opened.samples()
    assert 1 == seen["argo_mw_calls_total"]["verdict", "upstream"]
    of_upstreams = {name for name in seen if name.startswith("argo_mw_upstream")}
    assert set() == of_upstreams
    assert "argo_mw_saved_requests_total" not in seen


async def test_two_thousand_subjects_are_one_series():
    opened = Opened()
    async with opened.argo as argo:
        for number in range(2_000):
            await argo.call("bars", symbol=f"S{number}")
        seen = await opened.samples()
    assert {("bars", "upstream"): 2_000} == seen["argo_mw_calls_total"]


async def test_hostile_names_are_bounded_and_shown_as_text():
    """The official parser reads back what was counted; a name of 10,000 letters is cut."""
    name = 'a"} 1\nargo_mw_calls_total{x="\\' + "x" * 10_000
    opened = Opened()
    async with opened.argo as argo:
        await argo.call("bars", symbol="AAPL")
        context_of(argo).counters.tallies.troubled(name)
        seen = await opened.samples()
    ((where,),) = seen["argo_mw_troubles_total"]
    assert where.startswith('a"} 1\nargo_mw_calls_total{x="\\')
    assert LONGEST_VALUE == len(where)
    assert {("bars", "upstream"): 1} == seen["argo_mw_calls_total"]


async def test_arms_and_flags_can_be_seen():
    opened = Opened(flags={"cache": {"percent": 50}})
    async with opened.argo as argo:
        for number in range(40):
            for _ in range(2):
                await argo.call("bars", symbol=f"S{number}")
        seen = await opened.samples()
    arms = seen["argo_mw_arm_calls_total"]
    treated, control = (arms[arm, "cache", "bars"] for arm in ("treatment", "control"))
    assert 80 == treated + control
    assert treated / 2 == seen["argo_mw_arm_hits_total"]["treatment", "cache", "bars"]
    assert treated / 2 == seen["argo_mw_arm_requests_total"]["treatment", "cache", "bars"]
    assert control == seen["argo_mw_arm_requests_total"]["control", "cache", "bars"]
    assert treated == seen["argo_mw_arm_duration_seconds_count"]["treatment", "cache", "bars"]
    states = {values: on for values, on in seen["argo_mw_flag_state"].items() if on}
    assert 1 == states["cache", "percent"] == states["metrics", "off"] == states["upstream.a", "on"]
    assert 50 == seen["argo_mw_flag_percent"]["cache",]
    assert 80 == sum(seen["argo_mw_calls_total"].values())


async def test_nothing_is_observed_while_metrics_are_read():
    """A hit pays for no event: see the tests of what is executed for it."""
    opened = Opened()
    async with opened.argo as argo:
        assert not context_of(argo).events
        await opened.samples()
        assert not context_of(argo).events


async def test_nothing_is_read_when_instruments_are_off():
    reader = InMemoryMetricReader()
    plugin = MetricsPlugin(MeterProvider(metric_readers=[reader]))
    async with Opened(plugin=plugin, config={"instruments": False, "port": 0}).argo:
        assert None is plugin.port
        assert {} == named(reader.get_metrics_data())


async def test_a_command_that_looks_is_neither_scraped_nor_exported():
    """The program that works has the port, and sends what is counted."""
    kept = Kept()
    plugin = MetricsPlugin(exporter=kept)
    config = {"argo": {"shared": "memory://"}, "plugins": {"metrics": {"port": 0}}}
    async with Argo(parse(config), plugins={"metrics": plugin}, installed=False, serves=False):
        assert None is plugin.port
    assert [] == kept.exported


# Prometheus


async def test_a_scrape_of_another_name_path_or_method_is_refused():
    opened = Opened()
    async with opened.argo:
        base = f"http://127.0.0.1:{opened.plugin.port}"
        rebound = Request(f"{base}/metrics", headers={"Host": "evil.example"})
        asked = (rebound, f"{base}/", Request(f"{base}/metrics", method="POST"))
        refused = [await asyncio.to_thread(status, one) for one in asked]
    assert [421, 404, 401] == refused


def status(asked: str | Request) -> int:
    try:
        return urlopen(asked).status
    except HTTPError as error:
        return error.code


async def test_what_other_machines_reach_asks_for_the_token():
    opened = Opened(config={"port": 0, "host": "0.0.0.0", "hosts": ["argo.internal"]})
    async with opened.argo as argo:
        token = load_or_create_token(context_of(argo).state_dir / "metrics.token").reveal()
        url = f"http://127.0.0.1:{opened.plugin.port}/metrics"
        headers = (
            {},
            {"Authorization": "Bearer wrong-wrong-wrong-wrong"},
            {"Authorization": f"Bearer {token}"},
            {"Authorization": f"Bearer {token}", "Host": "argo.internal:9464"},
        )
        asked = [Request(url, headers=one) for one in headers]
        answers = [await asyncio.to_thread(status, one) for one in asked]
    assert [401, 401, 200, 200] == answers


async def test_clients_that_send_nothing_take_a_bounded_number_of_threads():
    opened = Opened()
    async with opened.argo, AsyncExitStack() as stack:

        async def connect() -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", opened.plugin.port)
            stack.callback(writer.close)
            return reader

        before = threading.active_count()
        silent = [await connect() for _ in range(MAX_CLIENTS)]
        for _ in range(MAX_CLIENTS):
            one_more = await connect()
            with suppress(ConnectionResetError):
                assert b"" == await one_more.read()
        assert threading.active_count() - before <= MAX_CLIENTS
        assert not any(one.at_eof() for one in silent)
        await stack.pop_all().aclose()
        async with asyncio.timeout(10.0):
            while not await asyncio.to_thread(is_scraped, opened.url):
                pass  # until the threads have seen that their clients have left


def is_scraped(url: str) -> bool:
    try:
        return urlopen(url).status == 200
    except OSError:
        return False


async def test_a_taken_port_is_an_error_that_names_the_remedy():
    taken = Opened()
    async with taken.argo:
        other = Opened(config={"port": taken.plugin.port})
        with pytest.raises(PluginError, match="cannot be used"):
            async with other.argo:
                pass


async def test_no_thread_and_no_port_is_left_behind():
    opened = Opened()
    async with opened.argo:
        url = opened.url
    assert [] == [one for one in threading.enumerate() if one.name == "argo-mw:prometheus"]
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(urlopen, url)


async def test_a_busy_loop_is_distinguished_from_an_application_that_is_gone(monkeypatch):
    monkeypatch.setattr("argo_mw_metrics.sampler.PATIENCE", 0.05)
    opened = Opened()
    async with opened.argo:
        answers: list[int] = []
        scrape = threading.Thread(target=lambda: answers.append(status(opened.url)))
        scrape.start()
        scrape.join()  # on the event loop, which is blocked meanwhile
        assert [503] == answers
        assert 200 == await asyncio.to_thread(status, opened.url)


def test_buckets_hold_what_is_at_most_as_large_as_their_bound():
    histogram = Histogram(zeros=2)
    for value in (0.0009, 0.004, 0.2, 3.0):
        histogram.add(value, 5)
    expected = [(0.001, 7), (0.1, 12), (1.0, 17), (inf, 22)]
    assert expected == buckets(histogram, (0.001, 0.1, 1.0))


# OTLP


async def test_histograms_are_exponential_over_otlp():
    kept = Kept()
    opened = Opened(plugin=MetricsPlugin(exporter=kept), config={"otlp_every": 10.0})
    async with opened.argo as argo:
        for symbol in ("AAPL", "IBM", "AAPL"):
            await argo.call("bars", symbol=symbol)
        await opened.clock.advance(10.0)
        await eventually(lambda: bool(kept.exported))
        seen = kept.latest()
        assert {"argo_mw.version"} < set(kept.exported[-1].resource_metrics[0].resource.attributes)
    durations = seen["argo_mw.call.duration"].data
    assert isinstance(durations, ExponentialHistogram)
    by_waited = {p.attributes["argo_mw.waited"]: p for p in durations.data_points}
    assert (2, 5) == (by_waited["true"].count, by_waited["true"].scale)
    assert (1, 1) == (by_waited["false"].count, by_waited["false"].zero_count)
    calls = seen["argo_mw.calls"].data
    assert isinstance(calls, Sum)
    assert calls.is_monotonic
    assert {"cache": 1, "upstream": 2} == {
        point.attributes["argo_mw.served_by"]: point.value for point in calls.data_points
    }
    assert kept.ended
    assert 2 == len(kept.exported), "the last ones are sent at the end"


async def test_a_collector_that_is_away_is_reported_once_and_tried_again(caplog):
    caplog.set_level("INFO")
    failure = MetricExportResult.FAILURE
    kept = Kept(failure, failure)
    opened = Opened(plugin=MetricsPlugin(exporter=kept), config={"otlp_every": 10.0})

    def said() -> list[str]:
        messages = (record.getMessage().partition(" error=")[0] for record in caplog.records)
        return [one for one in messages if "exported" in one]

    async with opened.argo:
        async with asyncio.timeout(60):
            while len(said()) < 2:
                await opened.clock.advance(10.0)
                await asyncio.to_thread(int)  # behind what the exporter does in a thread
    away, back = "metrics cannot be exported; that is tried again", "metrics are exported again"
    assert [away, back] == said()


def test_exponential_buckets_are_those_of_the_counters():
    histogram = Histogram()
    for value in (1.5, 1.5, 4.0):
        histogram.add(value)
    point = exponential((("a", "b"),), histogram, (1, 2))
    assert {"a": "b"} == point.attributes
    counts = dict(enumerate(point.positive.bucket_counts, point.positive.offset))
    assert dict(histogram.buckets) == {at: count for at, count in counts.items() if count}
    assert 1.5 >= point.min > 1.45
    assert 4.0 <= point.max < 4.1
    empty = exponential((), Histogram(zeros=3), (1, 2))
    assert (3, 3, [], 0.0, 0.0) == (
        empty.count, empty.zero_count, empty.positive.bucket_counts, empty.min, empty.max,
    )  # fmt: skip


async def test_the_real_exporter_takes_what_is_exported():
    """Its encoder turns it into OTLP's messages."""
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.metrics_encoder")
    kept = Kept()
    opened = Opened(plugin=MetricsPlugin(exporter=kept), config={"otlp_every": 10.0})
    async with opened.argo as argo:
        await argo.call("bars", symbol="AAPL")
        await opened.clock.advance(10.0)
        await eventually(lambda: bool(kept.exported))
    encoded = encoder.encode_metrics(kept.exported[-1])
    (scope,) = encoded.resource_metrics[0].scope_metrics
    kinds = {metric.name: metric.WhichOneof("data") for metric in scope.metrics}
    assert "exponential_histogram" == kinds["argo_mw.call.duration"]
    assert "sum" == kinds["argo_mw.calls"]
    assert "gauge" == kinds["argo_mw.flag.state"]


class Collector(BaseHTTPRequestHandler):
    """A collector, which keeps the bodies that it gets."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/metrics":
            self.bodies.append(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


async def test_a_collector_gets_them_over_http_where_the_environment_says(monkeypatch):
    messages = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
    monkeypatch.setattr(Collector, "bodies", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        async with Opened(config={"otlp": True}).argo as argo:
            await argo.call("bars", symbol="AAPL")
        server.shutdown()
        serving.join()
    (body,) = Collector.bodies
    request = messages.ExportMetricsServiceRequest.FromString(body)
    (scope,) = request.resource_metrics[0].scope_metrics
    (durations,) = (m for m in scope.metrics if m.name == "argo_mw.upstream.duration")
    (point,) = durations.exponential_histogram.data_points
    assert (1, 5) == (point.count, point.scale)


async def test_a_missing_exporter_is_named_with_its_remedy(monkeypatch):
    module = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PluginError, match=r"install argo-mw-metrics\[otlp\]"):
        async with Opened(config={"otlp": True}).argo:
            pass


# The program's own provider


async def test_a_program_s_own_provider_reads_counters_and_gauges():
    reader = InMemoryMetricReader()
    plugin = MetricsPlugin(MeterProvider(metric_readers=[reader]))
    async with Opened(plugin=plugin, config={}).argo as argo:
        await argo.call("bars", symbol="AAPL")
        on_the_loop = named(reader.get_metrics_data())
        in_a_thread = named(await asyncio.to_thread(reader.get_metrics_data))
    for seen in (on_the_loop, in_a_thread):
        (point,) = seen["argo_mw.calls"].data.data_points
        expected = {"argo_mw.operation": "bars", "argo_mw.served_by": "upstream"}
        assert (1, expected) == (point.value, dict(point.attributes))
    assert {} == named(reader.get_metrics_data()), "what is closed is read no more"


async def test_the_next_application_of_a_program_is_read_in_place_of_the_last():
    reader = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader])
    for number in (1, 2):
        async with Opened(plugin=MetricsPlugin(meters), config={}).argo as argo:
            for _ in range(number):
                await argo.call("bars", symbol="AAPL")
            points = named(reader.get_metrics_data())["argo_mw.calls"].data.data_points
            assert number == sum(point.value for point in points)


async def test_a_busy_loop_delays_a_reader_once_and_not_for_each_instrument(monkeypatch, caplog):
    monkeypatch.setattr("argo_mw_metrics.sampler.PATIENCE", 0.05)
    reader = InMemoryMetricReader()
    plugin = MetricsPlugin(MeterProvider(metric_readers=[reader]))
    async with Opened(plugin=plugin, config={}).argo:
        reads = threading.Thread(target=reader.get_metrics_data)
        reads.start()
        reads.join(60.0)
        assert not reads.is_alive()
    said = [r for r in caplog.records if "event loop does not answer" in r.getMessage()]
    assert 1 == len(said)


# The conventions for generative AI


@pytest.mark.parametrize(
    ("configured", "environment", "expected"),
    [
        (None, "", False),
        (None, "http,gen_ai_latest_experimental", True),
        (False, "gen_ai_latest_experimental", False),
        (True, "", True),
    ],
)
def test_the_conventions_are_opted_into(
    monkeypatch, configured: bool | None, environment: str, expected: bool
):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", environment)
    assert expected is is_opted_in(configured)


async def test_without_being_opted_into_they_are_not_shown():
    opened = Opened()
    async with opened.argo as argo:
        await argo.call("bars", symbol="AAPL")
        assert [] == [name for name in await opened.samples() if name.startswith("gen_ai")]


def test_requests_are_named_by_what_they_ask_and_embeddings_are_no_inference() -> None:
    counts = UpstreamCounts(
        models={"m": ModelCounts(tokens_in=1)},
        tasks={
            "embeddings": {"m": ModelCounts(tokens_in=2)},
            "text_completion": {"m": ModelCounts(tokens_in=4)},
        },
    )
    here = InstanceCounts(
        "here", "", "", 0.0, 0.0, [Counts("openai_exchange", upstreams={"openai": counts})]
    )
    moment = Moment(here, {})
    (tokens,) = [one for one in GEN_AI if one.name.endswith("usage.input_tokens")]
    seen = {(who[0], value) for who, value in tokens.read(moment)}
    assert {("chat", 1), ("text_completion", 4)} == seen
    assert [7] == [of_model.tokens_in for *_, of_model in model_points(moment)]


async def test_requests_to_models_follow_the_conventions(lively: Lively):
    families = {family.name: family for family in await lively.families()}
    prefix = "gen_ai_client_inference_"
    who = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "anthropic",
        "gen_ai_response_model": "opus-6",
    }

    def value(name: str, **labels: str) -> float:
        found = [
            sample.value
            for family in families.values()
            for sample in family.samples
            if sample.name == prefix + name and sample.labels == {**who, **labels}
        ]
        (only,) = found
        return only

    unknown = {"gen_ai_token_modality": "unknown"}
    assert 200 == value("usage_input_tokens_total", **unknown)
    assert 40 == value("usage_output_tokens_total", **unknown)
    assert 120 == value("usage_cache_read_input_tokens_total", **unknown)
    assert 60 == value("usage_cache_write_input_tokens_total", **unknown)
    assert 30 == value("usage_reasoning_output_tokens_total", **unknown)
    assert 2 == value("duration_seconds_count")
    assert 1 == value("time_to_first_chunk_seconds_count")
    bounds = {
        sample.labels["le"]
        for sample in families[prefix + "duration_seconds"].samples
        if "le" in sample.labels
    }
    assert {"0.01", "0.64", "81.92", "+Inf"} < bounds
    failed = {"error_type": "UpstreamError", "gen_ai_response_model": ""}
    del who["gen_ai_response_model"], failed["gen_ai_response_model"]
    assert 1 == value("duration_seconds_count", **failed)


def test_every_metric_is_named_as_opentelemetry_asks():
    names = [metric.name for metric in CATALOG]
    assert len(set(names)) == len(names)
    for metric in CATALOG:
        assert metric.name.startswith("gen_ai." if metric.gen_ai else "argo_mw.")
        assert not metric.description.endswith(".")
        assert metric.kind != "counter" or not metric.name.endswith("total")
