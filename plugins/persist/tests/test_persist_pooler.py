"""PostgreSQL behind PgBouncer in transaction mode, which lends a few servers to many clients."""

from __future__ import annotations

import asyncio
from itertools import count

import asyncpg
import pytest

from argo_mw_persist import PostgresOptions, PostgresSink, Query
from argo_mw_persist.pooler import is_pooled
from argo_mw_persist.testing import (
    SCHEMA,
    SinkConformance,
    pgbouncer,
    pgbouncer_program,
    sample,
)

pytestmark = pytest.mark.skipif(
    pgbouncer_program() is None, reason="pgbouncer, Debian's package, is not installed"
)
numbers = count()

NOTE_THE_SETTING = """
CREATE TABLE settings (setting text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO settings VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON samples FOR EACH ROW EXECUTE FUNCTION note();
"""


@pytest.fixture
def behind(server):
    """The URL of a new database itself."""
    return server.database(f"pooled{next(numbers)}")


@pytest.fixture
def pooled(behind):
    """Its URL through a pooler with two servers."""
    with pgbouncer(behind, servers=2) as pooler:
        yield pooler.url


@pytest.fixture
async def sink(pooled):
    sink = PostgresSink(pooled, PostgresOptions(max_connections=8))
    await sink.open(SCHEMA)
    yield sink
    await sink.aclose()


class TestBehindPgBouncer(SinkConformance):
    @pytest.fixture
    async def sink(self, pooled):
        sink = PostgresSink(pooled)
        await sink.open(SCHEMA)
        yield sink
        await sink.aclose()


class TestDividedBehindPgBouncer(SinkConformance):
    @pytest.fixture
    async def sink(self, pooled):
        days = {table.name: 30.0 for table in SCHEMA}
        await (plain := PostgresSink(pooled)).open(SCHEMA)
        await plain.aclose()
        sink = PostgresSink(pooled, PostgresOptions(partitions=True), days=days)
        await sink.open(SCHEMA)
        assert len(await sink.divide()) == len(days)
        yield sink
        await sink.aclose()


async def test_a_pooler_is_distinguished_from_a_server(behind, pooled):
    assert [False, True] == [await is_pooled(url, 30.0) for url in (behind, pooled)]


async def test_many_connections_share_two_servers(sink, pooled):
    """Of one program and of several, that read, write and repeat at once."""
    other = PostgresSink(pooled, PostgresOptions(max_connections=8))
    await other.open(SCHEMA)

    async def work(number, one):
        for turn in range(10):
            rows = [sample(f"{number}:{turn}", n) for n in range(3)]
            await one.write(rows)
            await one.write(rows)
            mine = Query("SELECT number FROM samples WHERE name = ?", (f"{number}:{turn}",))
            assert [(0,), (1,), (2,)] == sorted(await one.read(mine))
            change = "UPDATE samples SET done = ? WHERE name = ?"
            assert await one.change(Query(change, (True, f"{number}:{turn}"))) == 3

    await asyncio.gather(*(work(number, (sink, other)[number % 2]) for number in range(12)))
    [(total,)] = await other.read(Query("SELECT count(*) FROM samples WHERE done"))
    assert total == 12 * 10 * 3
    await other.aclose()


async def test_what_is_acknowledged_is_on_disk_whatever_the_server_s_default(behind, pooled):
    """And the servers go on with their own default for other programs."""
    plain = await asyncpg.connect(behind)
    name = await plain.fetchval("SELECT current_database()")
    await plain.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    sink = PostgresSink(pooled)
    await sink.open(SCHEMA)
    await plain.execute(NOTE_THE_SETTING)
    row = sample("one", 1)
    await sink.write([row])
    await sink.write([row])
    await sink.write([sample("two", 2), sample("three", 3)])
    await sink.change(Query("UPDATE samples SET number = ?", (5,)))
    noted = await plain.fetch("SELECT setting FROM settings")
    assert {"on"} == {setting for (setting,) in noted}
    stranger = await asyncpg.connect(pooled, statement_cache_size=0)
    assert "off" == await stranger.fetchval("SHOW synchronous_commit")
    for connection in (plain, stranger):
        await connection.close()
    await sink.aclose()


async def test_nothing_stays_prepared_on_the_servers(sink, pooled):
    await sink.write([sample("one", 1)])
    await sink.read(Query("SELECT name FROM samples WHERE number = ?", (1,)))
    stranger = await asyncpg.connect(pooled, statement_cache_size=0)
    assert [] == await stranger.fetch("SELECT name FROM pg_prepared_statements WHERE name <> ''")
    await stranger.close()
