"""The layer in a chain: what it records, what it lets pass, and what it never does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from argo_mw import Argo, BadParameter, Cost, Outcome, PluginError, Refusal, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    NO_COST,
    AnsweredCall,
    Charge,
    Closed,
    LayerActed,
    Recording,
    Row,
    Stream,
    SystemClock,
    Upstream,
    context_of,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, LayerConformance, Scripted, capture_events
from argo_mw_persist import (
    RECEIPTS,
    NotRecorded,
    PersistPlugin,
    Query,
    QueueFull,
    RecordStore,
    SinkUnavailable,
    SqliteSink,
    WriterOptions,
    store_of,
)
from argo_mw_persist.costs import ChargeTable
from argo_mw_persist.records import place_of
from argo_mw_persist.schema import OWN_SCHEMA
from argo_mw_persist.testing import sample

from .conftest import Sampler


class TestPersist(LayerConformance):
    name = "persist"
    plugin = PersistPlugin
    config = {"answers": ["question"]}  # noqa: RUF012 - never changed
    tight = {"writer": {"max_queued": 200, "overflow": "refuse"}}  # noqa: RUF012 - never changed


def samples_of(answered: AnsweredCall) -> list[Row]:
    """A row for each number of an answer that is a list, and a refusal of negative ones."""
    if not isinstance(answered.value, list):
        return []
    if any(number < 0 for number in answered.value):
        raise BadParameter("a sample's number is never negative")
    return [sample(answered.owner + answered.subject, number) for number in answered.value]


@operation(name="measure", subject="place", record=Recording("samples", samples_of))
def measure(place: str, *, n: int = 0) -> list[int]:
    """Numbers that are recorded one by one."""
    raise AssertionError


@operation(name="private", subject="place", scope="tenant", record=Recording("samples", samples_of))
def private(place: str) -> list[int]:
    """The same, of a tenant's own."""
    raise AssertionError


@operation(name="opinion", kind="llm", subject="place")
def opinion(place: str) -> str:
    """What a model would say."""
    raise AssertionError


OPERATIONS = [measure, private, opinion]


def application(*script: object, clock=None, **persist: object) -> Argo:
    names = {one.name for one in OPERATIONS}
    upstream = Scripted("scripted", names, *(script or [[1]]), retries=0)
    given = FakePlugin(operations=OPERATIONS, upstreams=[upstream])
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"persist": {"on_sigterm": False, **persist}},
        },
        plugins={"persist": PersistPlugin, "sampler": Sampler, "given": given},
        installed=False,
        clock=clock,
    )


async def numbers(argo: Argo, name: str = "there") -> list[object]:
    query = Query("SELECT number FROM samples WHERE name = ? ORDER BY id", (name,))
    return [number for (number,) in await store_of(argo).read(query)]


async def test_an_answer_becomes_the_rows_of_its_operations_recording():
    async with application([3, 1, 2], durable=True) as argo:
        await argo.call("measure", place="there")
        assert await numbers(argo) == [3, 1, 2]
        assert await store_of(argo).read(Query("SELECT id FROM answers")) == []


async def test_a_recording_is_given_the_answer_and_whose_it_is():
    seen: list[AnsweredCall] = []
    noting = operation(
        name="measure",
        subject="place",
        record=Recording("samples", lambda answered: seen.append(answered) or []),
    )(lambda place, n=0: None)
    given = FakePlugin(
        operations=[noting], upstreams=[Scripted("scripted", {"measure"}, Outcome(5, as_of=7.0))]
    )
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"persist": PersistPlugin, "sampler": Sampler, "given": given},
        installed=False,
        clock=FakeClock(wall=9.0),
    ) as argo:
        await argo.call("measure", place="there", n=3)
        [answered] = seen
        assert (answered.value, answered.subject, answered.owner) == (5, "there", "")
        assert (answered.upstream, answered.as_of, answered.time) == ("scripted", 7.0, 9.0)
        assert dict(answered.parameters) == {"place": "there", "n": 3}


async def test_an_answer_that_its_recording_does_not_keep_leaves_no_trace():
    async with application("just words", durable=True) as argo:
        outcome = await argo.outcome("measure", place="there")
        assert outcome.notes == ()
        assert await numbers(argo) == []


async def test_an_operation_that_is_named_in_answers_is_kept_there_too():
    async with application([1], durable=True, answers=["measure"]) as argo:
        receipts: list[asyncio.Future[str]] = []
        await argo.options(extensions={RECEIPTS: receipts}).call("measure", place="there")
        assert [await receipt for receipt in receipts] == ["sink", "sink"]
        assert await numbers(argo) == [1]
        [(value, key)] = await store_of(argo).read(Query("SELECT value, key FROM answers"))
        assert context_of(argo).codecs.decode(value, place_of("measure", key)) == [1]


async def test_an_answer_that_its_recording_refuses_passes_and_says_why():
    async with application([-1]) as argo:
        outcome = await argo.outcome("measure", place="there")
        assert outcome.value == [-1]
        assert outcome.notes[-1].text == "not recorded: a sample's number is never negative"


async def test_a_recording_that_fails_costs_no_answer_unless_it_is_durable():
    async with application(["two"]) as argo:
        outcome = await argo.outcome("measure", place="there")
        assert outcome.value == ["two"]
        assert "the recording of measure failed: TypeError" in outcome.notes[-1].text
    async with application(["two"], durable=True) as argo:
        with pytest.raises(NotRecorded, match="recording of measure failed"):
            await argo.call("measure", place="there")


async def test_rows_for_a_table_that_no_plugin_declares_are_left_out():
    given = FakePlugin(
        operations=[measure], upstreams=[Scripted("scripted", {"measure"}, [1], retries=0)]
    )
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"persist": PersistPlugin, "given": given},
        installed=False,
    ) as argo:
        outcome = await argo.outcome("measure", place="there")
        assert "no installed plugin declares the table 'samples'" in outcome.notes[-1].text


async def test_a_durable_call_returns_when_its_row_can_be_read():
    async with application(durable=True) as argo:
        for number in range(20):
            await argo.call("measure", place="there", n=number)
            assert number + 1 == len(await numbers(argo))


async def test_without_durable_the_call_returns_at_once_and_the_receipt_is_there_to_be_awaited():
    clock = FakeClock()
    async with application(clock=clock) as argo:
        receipts: list[asyncio.Future[str]] = []
        await argo.options(extensions={RECEIPTS: receipts}).call("measure", place="there")
        [receipt] = receipts
        assert not receipt.done()
        assert store_of(argo).writer.held == 1
        await clock.advance(1.0)
        assert await receipt == "sink"


async def test_what_is_queued_at_the_end_is_written(tmp_path):
    clock = FakeClock()
    async with application(clock=clock) as argo:
        for number in range(100):
            await argo.call("measure", place="there", n=number)
        assert store_of(argo).writer.held == 100
    async with application(clock=clock) as argo:
        assert len(await numbers(argo)) == 100


async def test_a_full_queue_costs_no_answer_unless_it_is_durable():
    writer = {"max_queued": 1, "overflow": "refuse", "linger": 3600.0}
    async with application(clock=FakeClock(), writer=writer) as argo:
        await argo.call("measure", place="there")
        seen = capture_events(argo)
        outcome = await argo.outcome("measure", place="there")
        assert outcome.value == [1]
        assert "not recorded" in outcome.notes[-1].text
        assert [e.action for e in seen.of(LayerActed) if e.layer == "persist"] == ["left out"]


async def test_a_durable_call_fails_when_its_answer_cannot_be_kept():
    async with application(durable=True, writer={"retry_timeout": 0.0}) as argo:
        await store_of(argo).sink.aclose()
        with pytest.raises(NotRecorded, match="not open"):
            await argo.call("measure", place="there")


async def test_an_answer_that_has_no_encoding_passes_and_says_why():
    class Odd:
        pass

    odd = Odd()
    async with application(lambda call: odd, answers=["opinion"]) as argo:
        outcome = await argo.outcome("opinion", place="there")
        assert odd is outcome.value
        assert "not recorded" in outcome.notes[-1].text


async def test_only_configured_operations_are_recorded():
    async with application() as argo:
        await argo.call("opinion", place="there")
        assert store_of(argo).writer.held == 0


async def test_tenants_answers_are_kept_as_theirs_and_read_by_them_only():
    async with application([1], durable=True, answers=["private"]) as argo:
        acme, globex = argo.options(tenant="acme"), argo.options(tenant="globex")
        await acme.call("private", place="there")
        assert await numbers(argo, "acmethere") == [1]
        assert len((await acme.call("answers", of="private")).answers) == 1
        assert (await globex.call("answers", of="private")).answers == ()


async def test_a_stream_is_recorded_once_it_is_complete():
    holder: list[Argo] = []
    script = lambda call: Outcome(Stream.of(["a", "b"], context_of(holder[0]).tasks))  # noqa: E731
    async with application(script, answers=["opinion"]) as argo:
        holder.append(argo)
        outcome = await argo.outcome("opinion", place="there")
        assert [chunk async for chunk in outcome.value.read()] == ["a", "b"]
        while engine_of(argo).tasks.names:
            await asyncio.sleep(0)
        store = store_of(argo)
        await store.flush()
        [(value, key)] = await store.sink.read(Query("SELECT value, key FROM answers"))
        assert context_of(argo).codecs.decode(value, place_of("opinion", key)) == ["a", "b"]


async def test_what_metered_requests_cost_is_kept():
    cost = Cost(usd=0.25, tokens_in=100, tokens_out=20, requests=1.0)
    script = [Outcome("words", cost=cost), RuntimeError("down")]
    upstream = Scripted("glm", {"opinion"}, *script, retries=0)
    priced = upstream.upstream.__class__(
        "glm", {"opinion"}, upstream.upstream.fetch, price=0.2, retries=0
    )
    given = FakePlugin(operations=[opinion], upstreams=[priced])
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"persist": PersistPlugin, "sampler": Sampler, "given": given},
        installed=False,
    ) as argo:
        await argo.call("opinion", place="there")
        with pytest.raises(Exception, match="down"):
            await argo.call("opinion", place="here")
        store = store_of(argo)
        await store.flush()
        rows = await store.sink.read(
            Query("SELECT subject, status, usd, tokens_in, tokens_out FROM charges ORDER BY id")
        )
        # A failure's price is not known, which is not the same as nothing.
        assert list(rows) == [("there", "ok", 0.25, 100, 20), ("here", "failed", None, 0, 0)]


async def test_what_a_stream_cost_is_kept_once_it_has_ended():
    holder = []

    async def fetch(call):
        async def words():
            yield "a"

        stream = Stream(words(), context_of(holder[0]).tasks)
        stream.on_done(lambda ended: setattr(ended, "cost", Cost(0.25, 100, 20, 1.0)))
        return Outcome(stream, cost=Cost(None, requests=1.0))

    priced = Upstream("glm", {"opinion"}, fetch, price=0.2)
    given = FakePlugin(operations=[opinion], upstreams=[priced])
    async with Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"persist": PersistPlugin, "sampler": Sampler, "given": given},
        installed=False,
    ) as argo:
        holder.append(argo)
        stream = await argo.call("opinion", place="there")
        assert [chunk async for chunk in stream.read()] == ["a"]
        store = store_of(argo)
        await store.flush()
        rows = await store.sink.read(Query("SELECT usd, tokens_in, tokens_out FROM charges"))
        assert [(0.25, 100, 20)] == list(rows)


class Away(SqliteSink):
    """A sink that never takes a row."""

    async def write(self, rows):
        raise SinkUnavailable("it is away")


async def test_a_charge_that_is_not_taken_or_not_written_is_not_lost_in_silence(tmp_path):
    lost = []
    sink = Away(tmp_path / "away.db")
    options = WriterOptions(retry_timeout=0.0)
    store = RecordStore(sink, options, clock=SystemClock(), schema=OWN_SCHEMA)
    table = ChargeTable(lambda: store, lost.append)
    charge = Charge(1.0, "", "opinion", "A", "glm", "ok", Cost(0.25))
    await store.open()
    table.record(charge)
    await store.flush()
    [line] = lost
    assert repr(charge) in line
    assert "it is away" in line
    await store.aclose(timeout=0.0)
    with pytest.raises(Closed):
        table.record(charge)  # so that the next table takes it


async def test_explain_says_where_an_answer_would_go():
    async with application() as argo:
        [text] = [e.text for e in argo.explain("measure", place="there") if e.name == "persist"]
        assert "would record to samples in sqlite file" in text


async def test_a_changed_configuration_moves_over_and_loses_nothing(tmp_path):
    async with application() as argo:
        await argo.call("measure", place="there")
        before = store_of(argo)
        moved = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {
                "persist": {"on_sigterm": False, "url": f"sqlite:///{tmp_path / 'other.db'}"}
            },
        }
        await argo.reload(moved)
        assert before is not store_of(argo)
        await argo.call("measure", place="there", n=1)
        await store_of(argo).flush()
        assert await numbers(argo) == [1]
    async with application() as argo:
        assert await numbers(argo) == [1]


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
        return Outcome([1], cost=Cost(0.25))

    given = FakePlugin(
        operations=[measure], upstreams=[Upstream("slow", {"measure"}, slowly, price=0.2)]
    )
    async with Argo.open(
        moved_to(tmp_path / "first.db", durable=durable),
        plugins={"persist": PersistPlugin, "sampler": Sampler, "given": given},
        installed=False,
    ) as argo:
        calling = asyncio.create_task(argo.outcome("measure", place="there"))
        await asked.wait()
        await argo.reload(moved_to(tmp_path / "other.db", durable=durable))
        answered.set()
        assert () == (await calling).notes
        await store_of(argo).flush()
        assert await numbers(argo) == [1]
        assert [0.25] == [one.usd for one in await argo.call("spending")]


async def test_a_change_that_cannot_be_made_leaves_the_store_as_it_was(tmp_path):
    async with application() as argo:
        before = store_of(argo)
        (tmp_path / "no directory").touch()
        with pytest.raises(PluginError, match="SinkUnavailable.*other.db"):
            await argo.reload(moved_to(tmp_path / "no directory" / "other.db"))
        assert before is store_of(argo)
        await argo.call("measure", place="there")
        await store_of(argo).flush()
        assert await numbers(argo) == [1]


async def test_cost_is_zero_for_reads():
    async with application() as argo:
        outcome = await argo.outcome("answers", of="measure")
        assert outcome.cost == NO_COST


def test_queue_full_is_no_upstream_error():
    """So the chain does not ask another upstream because a queue is full."""
    assert not issubclass(QueueFull, (UpstreamError, Refusal))


@operation(name="derived", kind="compute", scope="public", subject="place")
def derived(place: str) -> str:
    """What is computed."""
    raise AssertionError


async def test_a_computed_answer_is_recorded_once_for_each_as_of(tmp_path):
    """What it lacked is in its row; what was fetched is recorded each time that it was."""
    whole, half = Outcome("w", as_of=1.0), Outcome("h", as_of=1.0, lacks=frozenset({"rest"}))
    script = [whole, half, whole, half, Outcome("later", as_of=2.0)]
    upstream = Scripted("scripted", {"derived", "measure"}, *script, *script, retries=0)
    given = FakePlugin(operations=[derived, measure], upstreams=[upstream])
    table = {"answers": ["derived", "measure"], "durable": True, "on_sigterm": False}
    argo = Argo.open(
        {"argo": {"shared": "memory://", "strict": True}, "plugins": {"persist": table}},
        plugins={"persist": PersistPlugin, "sampler": Sampler, "given": given},
        installed=False,
    )
    async with argo:
        for name in ("derived", "measure"):
            for _ in script:
                await argo.call(name, place="there")
        kept = [
            [(one.timestamp, one.lacks) for one in page.answers]
            for page in [await argo.call("answers", of=name) for name in ("derived", "measure")]
        ]
    lacking, nothing = ("rest",), ()
    assert [(1_000_000, nothing), (1_000_000, lacking), (2_000_000, nothing)] == sorted(kept[0])
    assert len(script) == len(kept[1])


async def test_an_answer_without_as_of_has_that_of_its_inputs():
    context = FakePlugin()

    async def compute(call):
        await clock.advance(5)
        inner = await context.context.call(call, "measure", place=call.subject)
        return Outcome(inner.value)

    clock = FakeClock()
    context = FakePlugin(
        operations=[derived, measure],
        upstreams=[Upstream("computed", {"derived"}, compute), Scripted("a", {"measure"}, [1])],
    )
    argo = Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"given": context, "sampler": Sampler, "persist": PersistPlugin},
        installed=False,
        clock=clock,
    )
    async with argo:
        began = clock.time()
        assert began + 5 == (await argo.outcome("derived", place="there")).as_of
