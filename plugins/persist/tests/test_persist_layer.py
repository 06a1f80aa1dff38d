"""The layer in a chain: what it records, what it lets pass, and what it never does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import frozen

from argo_mw import Argo, Cost, Outcome, PluginError, Refusal, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import NO_COST, LayerActed, Stream, Upstream, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, LayerConformance, Scripted, capture_events
from argo_mw_persist import (
    RECEIPTS,
    NotRecorded,
    Query,
    QueueFull,
    Voice,
    plugin,
    store_of,
)


class TestPersist(LayerConformance):
    name = "persist"
    plugin = plugin
    config = {"signals": [], "answers": ["question"]}  # noqa: RUF012 - never changed


@frozen
class Contribution:
    voice: str
    score: float
    confidence: float = 0.5
    weight: float = 1.0
    reason: str = "because"


@frozen
class Verdict:
    symbol: str
    action: str
    confidence: float
    price: float
    contributions: tuple[Contribution, ...] = ()


@operation(name="signal", kind="compute", data_type="consensus", subject="symbol")
def signal(symbol: str, *, n: int = 0) -> Verdict:
    """What the reference application would say."""
    raise AssertionError


@operation(name="opinion", kind="llm", data_type="ai_reasoning", subject="symbol")
def opinion(symbol: str) -> str:
    """What a model would say."""
    raise AssertionError


def verdict(call) -> Verdict:
    said = (Contribution("trend", 0.4), Contribution("momentum", -0.2), Contribution("volume", 0.0))
    return Verdict(call.subject, "BUY", 0.7, 100.0, said)


def application(*script: object, clock=None, **persist: object) -> Argo:
    upstream = Scripted("scripted", {"signal", "opinion"}, *(script or [verdict]), retries=0)
    given = FakePlugin(operations=[signal, opinion], upstreams=[upstream])
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"persist": {"on_sigterm": False, **persist}},
        },
        plugins={"persist": plugin, "given": given},
        installed=False,
        clock=clock,
    )


async def test_a_signal_is_recorded_with_what_each_voice_said():
    async with application(durable=True) as argo:
        await argo.call("signal", symbol="AAPL")
        [kept] = await store_of(argo).latest("AAPL")
        assert (
            kept.symbol,
            kept.action,
            kept.confidence,
            kept.price,
        ) == ("AAPL", "BUY", 0.7, 100.0)
        assert (
            Voice("trend", "BUY", 0.5, 1.0, "because"),
            Voice("momentum", "SELL", 0.5, 1.0, "because"),
            Voice("volume", "HOLD", 0.5, 1.0, "because"),
        ) == kept.voices
        assert kept.upstream == "scripted"
        assert kept.tenant == ""
        assert kept.is_active


async def test_a_mapping_of_the_same_shape_is_a_signal_too():
    value = {"action": "sell", "confidence": 60, "voices": {"trend": {"action": "Sell"}}}
    async with application(value, durable=True) as argo:
        await argo.call("signal", symbol="IBM")
        [kept] = await store_of(argo).latest("IBM")
        assert ("SELL", 60.0, (Voice("trend", "SELL"),)) == (
            kept.action,
            kept.confidence,
            kept.voices,
        )


async def test_what_has_not_the_shape_of_a_signal_is_kept_as_an_answer():
    async with application("just words", durable=True) as argo:
        assert await argo.call("signal", symbol="AAPL") == "just words"
        sink = store_of(argo).sink
        [(name, value)] = await sink.read(Query("SELECT operation, value FROM answers"))
        assert (name, context_of(argo).codecs.decode(value)) == ("signal", "just words")


async def test_a_durable_call_returns_when_its_row_can_be_read():
    async with application(durable=True) as argo:
        for number in range(20):
            await argo.call("signal", symbol="AAPL", n=number)
            assert number + 1 == len(await store_of(argo).latest("AAPL", 100))


async def test_without_durable_the_call_returns_at_once_and_the_receipt_is_there_to_be_awaited():
    clock = FakeClock()
    async with application(clock=clock) as argo:
        receipts: list[asyncio.Future[str]] = []
        await argo.options(extensions={RECEIPTS: receipts}).call("signal", symbol="AAPL")
        [receipt] = receipts
        assert not receipt.done()
        assert store_of(argo).writer.held == 1
        await clock.advance(1.0)
        assert await receipt == "sink"


async def test_what_is_queued_at_the_end_is_written(tmp_path):
    clock = FakeClock()
    async with application(clock=clock) as argo:
        for number in range(100):
            await argo.call("signal", symbol="AAPL", n=number)
        assert store_of(argo).writer.held == 100
    async with application(clock=clock) as argo:
        assert len(await store_of(argo).latest("AAPL", 1_000)) == 100


async def test_a_full_queue_costs_no_answer_unless_it_is_durable():
    writer = {"capacity": 1, "overflow": "refuse", "linger": 3600.0}
    async with application(clock=FakeClock(), writer=writer) as argo:
        await argo.call("signal", symbol="AAPL")
        seen = capture_events(argo)
        outcome = await argo.outcome("signal", symbol="AAPL")
        assert outcome.value.action == "BUY"
        assert "not recorded" in outcome.notes[-1].text
        assert [e.action for e in seen.of(LayerActed) if e.layer == "persist"] == ["left out"]


async def test_a_durable_call_fails_when_its_answer_cannot_be_kept():
    async with application(durable=True, writer={"patience": 0.0}) as argo:
        await store_of(argo).sink.aclose()
        with pytest.raises(NotRecorded, match="not open"):
            await argo.call("signal", symbol="AAPL")


async def test_an_answer_that_has_no_encoding_passes_and_says_why():
    class Odd:
        pass

    odd = Odd()
    async with application(lambda call: odd, answers=["opinion"]) as argo:
        outcome = await argo.outcome("opinion", symbol="AAPL")
        assert odd is outcome.value
        assert "not recorded" in outcome.notes[-1].text


async def test_only_configured_operations_are_recorded():
    async with application() as argo:
        await argo.call("opinion", symbol="AAPL")
        assert store_of(argo).writer.held == 0


async def test_tenants_answers_are_kept_as_theirs_and_read_by_them_only():
    value = {"action": "BUY", "confidence": 0.5}
    async with application(value, durable=True, signals=["opinion"]) as argo:
        acme, globex = argo.options(tenant="acme"), argo.options(tenant="globex")
        await acme.call("opinion", symbol="AAPL")
        assert len(await acme.call("latest", symbol="AAPL")) == 1
        assert await globex.call("latest", symbol="AAPL") == ()


async def test_a_stream_is_recorded_once_it_is_complete():
    holder: list[Argo] = []
    script = lambda call: Outcome(Stream.of(["a", "b"], holder[0].context.tasks))  # noqa: E731
    async with application(script, answers=["opinion"]) as argo:
        holder.append(argo)
        outcome = await argo.outcome("opinion", symbol="AAPL")
        assert [chunk async for chunk in outcome.value.read()] == ["a", "b"]
        while engine_of(argo).tasks.names:
            await asyncio.sleep(0)
        store = store_of(argo)
        await store.flush()
        [(value,)] = await store.sink.read(Query("SELECT value FROM answers"))
        assert context_of(argo).codecs.decode(value) == ["a", "b"]


async def test_the_ledger_keeps_what_metered_requests_cost():
    cost = Cost(usd=0.25, tokens_in=100, tokens_out=20, requests=1.0)
    script = [Outcome("words", cost=cost), RuntimeError("down")]
    upstream = Scripted("glm", {"opinion"}, *script, retries=0)
    priced = upstream.upstream.__class__(
        "glm", {"opinion"}, upstream.upstream.fetch, price=0.2, retries=0
    )
    given = FakePlugin(operations=[opinion], upstreams=[priced])
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"persist": plugin, "given": given},
        installed=False,
    ) as argo:
        await argo.call("opinion", symbol="AAPL")
        with pytest.raises(Exception, match="down"):
            await argo.call("opinion", symbol="IBM")
        store = store_of(argo)
        await store.flush()
        rows = await store.sink.read(
            Query("SELECT subject, status, usd, tokens_in, tokens_out FROM charges ORDER BY id")
        )
        # A failure's price is not known, which is not the same as nothing.
        assert list(rows) == [("AAPL", "ok", 0.25, 100, 20), ("IBM", "failed", None, 0, 0)]


async def test_the_ledger_keeps_what_a_stream_cost_once_it_has_ended():
    holder = []

    async def fetch(call):
        async def words():
            yield "a"

        return Outcome(Stream(words(), holder[0].engine.tasks), cost=Cost(None, requests=1.0))

    priced = Upstream("glm", {"opinion"}, fetch, price=0.2)
    given = FakePlugin(operations=[opinion], upstreams=[priced])
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"persist": plugin, "given": given},
        installed=False,
    ) as argo:
        holder.append(argo)
        stream = await argo.call("opinion", symbol="AAPL")
        # Told of the end after the ledger, as another plugin's guard may be.
        stream.on_done(lambda ended: setattr(ended, "cost", Cost(0.25, 100, 20, 1.0)))
        assert [chunk async for chunk in stream.read()] == ["a"]
        await asyncio.sleep(0)
        store = store_of(argo)
        await store.flush()
        rows = await store.sink.read(Query("SELECT usd, tokens_in, tokens_out FROM charges"))
        assert [(0.25, 100, 20)] == list(rows)


async def test_explain_says_where_an_answer_would_go():
    async with application() as argo:
        [text] = [e.text for e in argo.explain("signal", symbol="AAPL") if e.name == "persist"]
        assert "would record to signals in sqlite file" in text


async def test_a_changed_configuration_moves_over_and_loses_nothing(tmp_path):
    async with application() as argo:
        await argo.call("signal", symbol="AAPL")
        before = store_of(argo)
        moved = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {
                "persist": {"on_sigterm": False, "url": f"sqlite:///{tmp_path / 'other.db'}"}
            },
        }
        await argo.reload(moved)
        assert before is not store_of(argo)
        await argo.call("signal", symbol="AAPL", n=1)
        await store_of(argo).flush()
        assert len(await store_of(argo).latest("AAPL")) == 1
    async with application() as argo:
        assert len(await store_of(argo).latest("AAPL")) == 1


def moved_to(path: Path, **persist: object) -> dict[str, object]:
    table = {"on_sigterm": False, "url": f"sqlite:///{path}", **persist}
    return {"argo": {"shared": "memory://", "strict": True}, "plugins": {"persist": table}}


@pytest.mark.parametrize("durable", [False, True])
async def test_what_is_answered_after_a_move_is_recorded_where_records_go_now(tmp_path, durable):
    """Its chain is the one that it began with, whose store has been closed meanwhile."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slowly(call) -> Outcome:
        asked.set()
        await answered.wait()
        return Outcome(verdict(call), cost=Cost(0.25))

    given = FakePlugin(
        operations=[signal], upstreams=[Upstream("slow", {"signal"}, slowly, price=0.2)]
    )
    async with Argo.open(
        moved_to(tmp_path / "first.db", durable=durable),
        plugins={"persist": plugin, "given": given},
        installed=False,
    ) as argo:
        calling = asyncio.create_task(argo.outcome("signal", symbol="AAPL"))
        await asked.wait()
        await argo.reload(moved_to(tmp_path / "other.db", durable=durable))
        answered.set()
        assert () == (await calling).notes
        await store_of(argo).flush()
        assert len(await argo.call("latest", symbol="AAPL")) == 1
        assert [0.25] == [one.usd for one in await argo.call("ledger")]


async def test_a_change_that_cannot_be_made_leaves_the_store_as_it_was(tmp_path):
    async with application() as argo:
        before = store_of(argo)
        (tmp_path / "no directory").touch()
        with pytest.raises(PluginError, match="SinkUnavailable.*other.db"):
            await argo.reload(moved_to(tmp_path / "no directory" / "other.db"))
        assert before is store_of(argo)
        await argo.call("signal", symbol="AAPL")
        await store_of(argo).flush()
        assert len(await argo.call("latest", symbol="AAPL")) == 1


async def test_cost_is_zero_for_reads():
    async with application() as argo:
        outcome = await argo.outcome("latest", symbol="AAPL")
        assert outcome.cost == NO_COST


def test_queue_full_is_no_upstream_error():
    """So the chain does not ask another upstream because a queue is full."""
    assert not issubclass(QueueFull, (UpstreamError, Refusal))
