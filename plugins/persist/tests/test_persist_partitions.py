"""Tables of PostgreSQL in partitions by time: filled, dropped, and made of tables that are not."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from itertools import count

import asyncpg
import pytest
from attrs import evolve
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.cli import main as cli_main
from argo_mw.plugin import Row, TimeOrderedIds
from argo_mw.testing import FakeClock
from argo_mw_persist import (
    PostgresOptions,
    PostgresSink,
    Query,
    RecordStore,
    RetentionOptions,
    Schema,
    SinkUnavailable,
    SqliteSink,
    WriterOptions,
)
from argo_mw_persist import postgres_partitions as in_postgres
from argo_mw_persist.dead_letters import write_sound
from argo_mw_persist.partitions import Partition, Slots, width
from argo_mw_persist.spool import SpooledSink
from argo_mw_persist.tables import Table
from argo_mw_persist.testing import SAMPLES, SCHEMA, SinkConformance, sample

numbers = count()
NOW = 1_750_000_000.0
DAY = 86_400.0
DAYS = {table.name: 120.0 for table in SCHEMA}
DIVIDED = PostgresOptions(partitions=True)
OTHERS = Table("others", {"id": "id"}, [("CREATE TABLE others (id {id} NOT NULL UNIQUE)",)])


def made_at(seconds: float, many: int = 1, name: str = "A") -> list[Row]:
    new_id = TimeOrderedIds(lambda: seconds)
    return [
        Row("samples", (new_id(), name, n, None, False, None), SAMPLES.tags(name, False))
        for n in range(many)
    ]


@pytest.fixture
def url(server) -> str:
    return server.database(f"partitions{next(numbers)}")


@pytest.fixture
async def opened(url):
    """Opens one more sink of the database; all are closed in the end."""
    sinks = []

    async def open_one(
        options: PostgresOptions = DIVIDED,
        schema: Schema = SCHEMA,
        now: Callable[[], float] = lambda: NOW,
        days: dict[str, float] | None = None,
    ) -> PostgresSink:
        sink = PostgresSink(url, options, days=DAYS if days is None else days, now=now)
        sinks.append(sink)
        await sink.open(schema)
        return sink

    yield open_one
    for sink in sinks:
        await sink.aclose()


@pytest.fixture
def divided(opened):
    """Makes sinks of the database, whose tables are divided, for a store to open."""

    async def make(clock: FakeClock) -> PostgresSink:
        sink = await opened(now=clock.time)
        await sink.aclose()
        return sink

    return make


@pytest.fixture
async def plain(opened):
    """A sink whose tables are not divided."""
    return await opened(PostgresOptions())


def store_on(sink, clock, invalidated=None, warnings=None) -> RecordStore:
    async def invalidate(tags) -> None:
        if invalidated is not None:
            invalidated.update(tags)

    return RecordStore(
        sink,
        WriterOptions(linger=0.0),
        clock=clock,
        schema=SCHEMA,
        invalidate=invalidate,
        on_warning=([] if warnings is None else warnings).append,
        retention=RetentionOptions(days={"samples": DAYS["samples"]}),
    )


async def stored(sink) -> set[bytes]:
    return {row[0] for row in await sink.read(Query("SELECT id FROM samples"))}


def identifiers(rows) -> set[bytes]:
    return {row.cells[0] for row in rows}


async def parts(sink) -> list[Partition]:
    found = await sink.partitions(SAMPLES)
    assert found is not None
    return list(found)


class _Conformance(SinkConformance):
    """The promises of any sink, in one database, since each test needs empty tables only."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, server) -> str:
        return server.database(f"partitions{next(numbers)}")

    @pytest.fixture
    async def sink(self, divided_sink, url):
        assert len(await parts(divided_sink)) >= 3
        yield divided_sink
        # Whether the test has closed the sink or not.
        connection = await asyncpg.connect(url)
        await connection.execute(f"TRUNCATE {', '.join(table.name for table in SCHEMA)}")
        await connection.close()


class TestDividedFromTheStart(_Conformance):
    @pytest.fixture
    async def divided_sink(self, opened):
        return await opened()


class TestDividedLater(_Conformance):
    @pytest.fixture
    async def divided_sink(self, opened):
        await opened(PostgresOptions())
        sink = await opened()
        await sink.divide()
        return sink

    async def test_they_are_divided_by_the_command_alone(self, opened) -> None:
        """Opening a database again changes nothing."""
        plain = await opened(PostgresOptions(), schema=Schema([OTHERS]))
        await opened(schema=Schema([OTHERS]), days={"others": 7.0})
        assert await plain.partitions(OTHERS) is None


class TestDividedAndUsedByAProgramThatDoesNotKnow(_Conformance):
    @pytest.fixture
    async def divided_sink(self, opened):
        await opened()
        return await opened(PostgresOptions(), days={})


@given(
    st.floats(1e-6, 4000.0),
    st.lists(st.floats(0.0, 3e11), max_size=8),
    st.lists(st.tuples(st.floats(0.0, 3e9), st.floats(1e-6, 4000.0)), max_size=4),
)
def test_partitions_never_overlap_and_hold_every_row(days, far, earlier):
    """Whatever was there before, made by programs with other days at other times."""
    existing: list[Partition] = []
    for now, other in [*earlier, (NOW, days)]:
        near = [now + step * width(other) / 2 for step in range(-30, 5)]
        wanted = [TimeOrderedIds.first_at(seconds) for seconds in [*far, *near] if seconds < 2e11]
        slots = Slots(other, now)
        wanted += slots.ahead()
        new = [Partition("", *borders) for borders in slots.missing(wanted, existing)]
        existing += new
        for one in wanted:
            assert len([part for part in existing if part.holds(one)]) == 1
        for one in existing:
            assert one.start is None or one.end is None or one.start < one.end
            others = [part for part in existing if part is not one]
            assert not any(part.holds(one.start or bytes(16)) for part in others)
        assert slots.missing(wanted, existing) == []
    assert len(existing) < 400


def test_what_is_old_and_what_is_far_ahead_share_a_partition_each():
    slots = Slots(120.0, NOW)
    old = [TimeOrderedIds.first_at(second) for second in range(0, int(NOW - 140 * DAY), 10**7)]
    assert len(slots.missing(old, [])) == 1
    far = [TimeOrderedIds.first_at(NOW + DAY * n) for n in range(1100, 10**6, 1000)]
    assert len(slots.missing(far, [])) == 1
    year = [TimeOrderedIds.first_at(NOW - n * DAY) for n in range(121)]
    assert len(slots.missing(year, [])) in (12, 13)


async def test_a_row_of_any_time_is_kept(opened):
    sink = await opened()
    times = [
        0.0,
        NOW - 900 * DAY,
        NOW - 30 * DAY,
        NOW,
        NOW + 25 * DAY,
        NOW + 1e6 * DAY,
        2.0**48 / 1e3,
    ]
    rows = [row for time in times for row in made_at(min(time, (2**48 - 1) / 1e3), 2)]
    await sink.write(rows)
    await sink.write(rows)
    assert identifiers(rows) == await stored(sink)
    assert list(await sink.check()) == []


async def test_many_that_lack_the_same_partitions_at_once_lose_nothing(opened):
    sinks = [await opened() for _ in range(4)]
    chance = random.Random(1)
    batches = [
        [row for _ in range(6) for row in made_at(NOW + chance.randrange(-200, 200) * DAY)]
        for _ in range(16)
    ]

    async def write(sink, rows) -> None:
        while True:
            try:
                await sink.write(rows)
                return
            except SinkUnavailable:
                continue  # another makes the same partitions

    await asyncio.gather(*(write(sinks[n % 4], rows) for n, rows in enumerate(batches)))
    assert {one for rows in batches for one in identifiers(rows)} == await stored(sinks[0])


async def test_a_row_without_identifier_is_a_dead_letter_and_keeps_nothing_up(opened):
    sink = await opened()
    poison = Row("samples", (None, "A", 1, None, False, None))
    sound = made_at(NOW + 500 * DAY, 3)
    written = await write_sound(sink, SCHEMA, [*sound, poison], now=NOW)
    assert [poison] == list(written.refused)
    assert identifiers(sound) == await stored(sink)


async def test_a_partition_goes_as_a_whole_when_its_newest_row_is_old(divided):
    """And its rows' tags are invalidated, and no others."""
    clock, invalidated = FakeClock(wall=NOW), set()
    sink = await divided(clock)
    async with store_on(sink, clock, invalidated) as store:
        old = [*made_at(NOW - 150 * DAY, 5, "B"), *made_at(NOW - 131 * DAY, 5, "C")]
        late = made_at(0.0, 3, "D")
        young = [*made_at(NOW - 119 * DAY, 5, "E"), *made_at(NOW, 5, "F")]
        await sink.write([*old, *late, *young])
        before = [one.name for one in await parts(sink)]
        assert {"samples": 13} == await store.prune()
        assert identifiers(young) == await stored(sink)
        assert {"samples", "samples:B", "samples:C", "samples:D"} == invalidated
        assert len(await parts(sink)) < len(before)
        assert {"samples": 0} == await store.prune()


async def test_no_row_is_kept_for_longer_than_its_days_and_a_partition_s_width(divided):
    clock = FakeClock(wall=NOW)
    sink = await divided(clock)
    rows = [row for day in range(0, 140, 3) for row in made_at(NOW - day * DAY)]
    async with store_on(sink, clock) as store:
        await sink.write(rows)
        for _ in range(8):
            await store.prune()
            now = clock.time()
            kept = await stored(sink)
            for row in rows:
                age = now - int.from_bytes(row.cells[0][:6], "big") / 1000
                assert age > 120 * DAY or row.cells[0] in kept
                assert age <= 120 * DAY + width(120.0) or row.cells[0] not in kept
            await clock.advance(7 * DAY)


async def test_a_partition_in_use_is_dropped_in_a_later_round(divided, url):
    """Nobody waits for it, neither retention nor a writer."""
    clock, warnings = FakeClock(wall=NOW), []
    sink = await divided(clock)
    reader = await asyncpg.connect(url)
    async with store_on(sink, clock, warnings=warnings) as store:
        old = made_at(NOW - 125 * DAY, 5)
        await sink.write(old)
        using = reader.transaction()
        await using.start()
        await reader.fetch("SELECT count(*) FROM samples")
        async with asyncio.timeout(10.0):
            pruning = asyncio.create_task(store.prune())
            await sink.write(made_at(NOW))
            assert {"samples": 0} == await pruning
        assert ["is in use" in warning for warning in warnings] == [True]
        await using.rollback()
        assert {"samples": 5} == await store.prune()
    await reader.close()


async def test_two_that_prune_count_each_row_once(divided):
    clock = FakeClock(wall=NOW)
    first, second = [await divided(clock) for _ in range(2)]
    async with store_on(first, clock) as one, store_on(second, clock) as two:
        await first.write(made_at(NOW - 150 * DAY, 100))
        results = await asyncio.gather(one.prune(), two.prune())
        assert sum(result["samples"] for result in results) == 100


async def test_partitions_are_made_ahead_by_every_round(divided):
    clock = FakeClock(wall=NOW)
    sink = await divided(clock)
    async with store_on(sink, clock) as store:
        for _ in range(3):
            await clock.advance(20 * DAY)
            await store.prune()
            soon = [TimeOrderedIds.first_at(clock.time() + n * 10 * DAY) for n in range(3)]
            found = await parts(sink)
            assert all(any(one.holds(identifier) for one in found) for identifier in soon)


@pytest.mark.parametrize("partitions", [True, False])
async def test_a_process_whose_clock_is_ahead_deletes_nothing_that_is_young(
    opened, tmp_path, partitions: bool
) -> None:
    """Rows are judged by the server's clock then, and the log says which clock to look at."""
    now = time.time()
    right = await opened(PostgresOptions(partitions=partitions), now=lambda: now)
    young = [*made_at(now - 30 * DAY, 3), *made_at(now, 2)]
    await right.write([*made_at(now - 150 * DAY, 4), *young])
    clock, warnings = FakeClock(wall=now + 400 * DAY), []
    ahead = await opened(PostgresOptions(partitions=partitions), now=clock.time)
    await ahead.aclose()
    async with (
        asyncio.TaskGroup() as tasks,
        store_on(
            SpooledSink(
                ahead,
                SqliteSink(tmp_path / "spool.db", rescues=True),
                clock=clock,
                tasks=Spawning(tasks),
                on_warning=warnings.append,
                on_drained=lambda rows: None,
            ),
            clock,
            warnings=warnings,
        ) as store,
    ):
        assert {"samples": 4} == await store.prune()
        await ahead.write(made_at(clock.time()))
        assert {"samples": 0} == await store.prune()
    assert identifiers(young) <= await stored(right)
    assert all("400 days ahead of the database's" in one for one in warnings)
    assert 2 == len(warnings)


async def test_a_process_whose_clock_is_behind_judges_by_its_own(divided) -> None:
    clock, warnings = FakeClock(wall=NOW), []
    sink = await divided(clock)
    async with store_on(sink, clock, warnings=warnings) as store:
        await sink.write(made_at(NOW - 30 * DAY, 3))
        assert {"samples": 0} == await store.prune()
    assert [] == warnings


async def test_a_table_that_is_not_divided_is_pruned_row_by_row(plain):
    clock = FakeClock(wall=NOW)
    await plain.aclose()
    async with store_on(plain, clock) as store:
        young = made_at(NOW - 119 * DAY, 5)
        await plain.write([*made_at(NOW - 121 * DAY, 5), *young])
        assert {"samples": 5} == await store.prune()
        assert identifiers(young) == await stored(plain)


async def index_names(sink) -> set[str]:
    query = "SELECT indexname FROM pg_indexes WHERE tablename = 'samples'"
    return {str(name) for (name,) in await sink.read(Query(query))}


async def test_dividing_keeps_every_row_index_right_and_later_migration(plain, opened, url):
    rows = [row for day in (-9000, -100, 0, 8, 3000) for row in made_at(NOW + day * DAY, 20)]
    await plain.write(rows)
    before = await index_names(plain)
    await plain.change(
        Query(
            "DO $$ BEGIN CREATE ROLE dashboard; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
    )
    await plain.change(Query("GRANT SELECT ON samples TO dashboard"))
    sink = await opened()
    assert "samples is divided into partitions" in await sink.divide()
    assert identifiers(rows) == await stored(plain)
    assert before == await index_names(plain)
    assert list(await sink.check()) == []
    assert list(await sink.divide()) == []
    granted = Query("SELECT has_table_privilege('dashboard', 'samples', 'SELECT')")
    assert [(True,)] == await sink.read(granted)
    await plain.write([*rows, *made_at(NOW + 50 * DAY)])
    assert len(await stored(sink)) == len(rows) + 1
    steps = ("ALTER TABLE samples ADD COLUMN note {text}", "DROP INDEX samples_by_name")
    later = evolve(SAMPLES, migrations=(*SAMPLES.migrations, steps))
    again = await opened(schema=Schema(later if one is SAMPLES else one for one in SCHEMA))
    assert len(await again.read(Query("SELECT note FROM samples"))) == len(rows) + 1
    await again.write(made_at(NOW - 100 * DAY, name="late"))


async def test_dividing_while_others_write_loses_nothing(plain, opened):
    first, second = [await opened() for _ in range(2)]
    written: set[bytes] = set()
    begun, done = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            rows = [sample("A", n) for n in range(20)]
            await plain.write(rows)
            written.update(identifiers(rows))
            begun.set()

    writing = [asyncio.create_task(write()) for _ in range(2)]
    await begun.wait()
    lines = await asyncio.gather(first.divide(), second.divide())
    assert len([line for some in lines for line in some]) == len(list(SCHEMA))
    done.set()
    await asyncio.gather(*writing)
    assert written == await stored(first)


async def test_dividing_that_ends_midway_leaves_the_table_as_it_was(plain, opened, monkeypatch):
    rows = [row for day in (-100, 0, 3000) for row in made_at(NOW + day * DAY, 20)]
    await plain.write(rows)
    sink = await opened()

    async def dies(connection, *_) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patched, pytest.raises(SinkUnavailable):
        patched.setattr(in_postgres, "_fill", dies)
        await sink.divide()
    assert await sink.partitions(SAMPLES) is None
    assert identifiers(rows) == await stored(plain)
    assert len(await sink.divide()) == len(list(SCHEMA))
    assert identifiers(rows) == await stored(plain)


async def test_a_table_that_somebody_uses_is_divided_another_time(plain, opened, url, monkeypatch):
    monkeypatch.setattr(in_postgres, "_PATIENT", "SET LOCAL lock_timeout = '100ms'")
    reader = await asyncpg.connect(url)
    async with reader.transaction():
        await reader.fetch("SELECT count(*) FROM answers")
        sink = await opened()
        with pytest.raises(SinkUnavailable, match="lock timeout"):
            await sink.divide()
    await reader.close()
    assert len(await sink.divide()) == len(list(SCHEMA))


async def test_a_table_with_what_partitions_would_not_have_stays_as_it_is(plain, opened):
    await plain.change(Query("CREATE VIEW seen AS SELECT id FROM samples"))
    sink = await opened()
    assert (
        "samples is not divided: it has a view, which new partitions would not have"
        in await sink.divide()
    )
    assert await sink.partitions(SAMPLES) is None


def test_the_command_divides_the_tables_for_which_there_are_days(url, tmp_path, monkeypatch):
    if not entry_points(group="argo_mw", name="persist"):
        pytest.skip("install plugins/persist (make test does)")
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "argo.toml"

    def migrate(partitions: str) -> str:
        settings.write_text(
            '[argo]\nshared = "memory://"\n'
            f'[plugins.persist]\nurl = "{url}"\n'
            f"[plugins.persist.postgresql]\npartitions = {partitions}\n"
            "[plugins.persist.retention.days]\nanswers = 30\n"
        )
        result = CliRunner().invoke(cli_main.cli, ["db", "migrate"], prog_name="argo-mw")
        assert result.exit_code == 0, result.output
        return result.stderr

    assert "divided" not in migrate("false")
    assert "answers is divided into partitions" in migrate("true")
    assert "divided" not in migrate("true")


async def test_what_waits_in_the_spool_comes_into_its_partitions(divided, tmp_path):
    """And the spool drops no partition while its sink is away."""
    clock = FakeClock(wall=NOW)
    behind = await divided(clock)
    spool = SqliteSink(tmp_path / "spool.db", rescues=True)
    tasks = asyncio.TaskGroup()
    away = False

    class Flaky:
        """The sink behind, as long as it is not away."""

        def __getattr__(self, name: str):
            return getattr(behind, name)

        async def write(self, rows):
            if away:
                raise SinkUnavailable("away")
            return await behind.write(rows)

        async def partitions(self, table):
            return await behind.partitions(table)

        async def extend(self, table) -> None:
            await behind.extend(table)

        async def drop(self, table, partition):
            return await behind.drop(table, partition)

    async with tasks:
        sink = SpooledSink(
            Flaky(),
            spool,
            clock=clock,
            tasks=Spawning(tasks),
            on_warning=lambda what: None,
            on_drained=lambda rows: None,
        )
        async with store_on(sink, clock) as store:
            away = True
            rows = [*made_at(NOW - 125 * DAY, 3), *made_at(NOW + 300 * DAY, 3)]
            assert await sink.write(rows) == "spool"
            with pytest.raises(SinkUnavailable, match="cannot be reached"):
                await store.prune()
            away = False
            while sink.depth:
                await clock.advance(1.0)
            await sink.drained()
            assert identifiers(rows) == await stored(behind)
            assert {"samples": 3} == await store.prune()


class Spawning:
    """Gives tasks to a group."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def spawn(self, name: str, coroutine):
        return self._group.create_task(coroutine, name=name)


async def test_a_table_that_has_the_name_of_a_partition_keeps_nothing_up(plain, opened):
    """One that was detached, to be kept elsewhere, and whose time comes again with a late row."""
    await plain.change(Query("CREATE TABLE samples_pold (note text)"))
    rows = made_at(NOW)
    await plain.write(rows)
    sink = await opened()
    assert "samples is divided into partitions" in await sink.divide()
    late = made_at(NOW + 20 * DAY)
    await sink.write(late)
    [lates] = [one for one in await parts(sink) if one.holds(late[0].cells[0])]
    await sink.change(Query(f"ALTER TABLE samples DETACH PARTITION {lates.name}"))
    again = made_at(NOW + 20 * DAY, 2)
    await sink.write(again)
    assert identifiers([*rows, *again]) == await stored(sink)
    detached = await sink.read(Query(f"SELECT id FROM {lates.name}"))
    assert identifiers(late) == {row[0] for row in detached}


async def test_a_user_that_may_not_make_partitions_is_told_what_it_needs(opened, url):
    await opened()
    connection = await asyncpg.connect(url)
    for statement in (
        "DROP ROLE IF EXISTS writer",
        "CREATE ROLE writer LOGIN PASSWORD 'writer'",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO writer",
    ):
        await connection.execute(statement)
    await connection.close()
    host = url.rpartition("@")[2]
    sink = PostgresSink(f"postgresql://writer:writer@{host}", DIVIDED, days=DAYS, now=lambda: NOW)
    await sink.open(SCHEMA, migrate=False)
    try:
        rows = made_at(NOW)
        await sink.write(rows)
        with pytest.raises(SinkUnavailable, match="must own samples"):
            await sink.write(made_at(NOW + 500 * DAY))
        assert identifiers(rows) == await stored(sink)
    finally:
        await sink.aclose()


async def test_a_default_partition_that_somebody_has_added_keeps_nothing_up(divided, opened):
    """Neither writes nor the end of what is old; each round says what to do about it."""
    clock, warnings = FakeClock(wall=NOW), []
    sink = await divided(clock)
    store = store_on(sink, clock, warnings=warnings)
    old, rows = made_at(NOW - 200 * DAY, 5), [*made_at(NOW), *made_at(NOW + 30 * DAY)]
    async with store:
        await sink.write(old)
        await sink.change(Query("CREATE TABLE samples_rest PARTITION OF samples DEFAULT"))
        await sink.write(rows)
        clock.set_wall(NOW + 20 * DAY)
        with pytest.raises(SinkUnavailable, match="and drop it"):
            await store.prune()
        await sink.write(made_at(NOW + 31 * DAY))
        found = await stored(sink)
    assert not identifiers(old) & found
    assert identifiers(rows) <= found
    assert len(rows) + 1 == len(found)
