"""What recording and reading cost, against the ways in which it is usually done.

Every contender writes the same signals to the same schema with the same durability
(``synchronous=FULL``, a commit per batch) and the plugin's own batch size; rounds of all are
interleaved, and medians are reported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path

import argo_mw_cache.plugin
from argo_mw import Argo
from argo_mw.plugin import Row, SystemClock
from argo_mw_persist import (
    Database,
    PersistPlugin,
    Query,
    RecordStore,
    Schema,
    SqliteSink,
    WriterOptions,
    store_of,
)
from argo_mw_persist.application import schema_of
from argo_mw_persist.postgres import PostgresSink
from argo_mw_persist.tables import Cells, Dialect
from argo_mw_persist.testing import postgres
from argo_mw_signals import RecordedSignal, RecordedSignals, RecordedVote, SignalsPlugin
from argo_mw_signals.queries import latest
from argo_mw_signals.recording import DECLARATION

Contender = Callable[[Path, Sequence[Cells], int], Awaitable[None]]

PARTS = ("sqlite", "loop", "postgres", "reads")
VOICES = ("trend", "momentum", "mean_reversion", "volume")
SYMBOLS = [f"S{number:03d}" for number in range(500)]
SCHEMA = schema_of({"signals": [DECLARATION]})
SIGNALS = SCHEMA["signals"]
COLUMNS = ", ".join(SIGNALS.names)
MARKS = ", ".join("?" * len(SIGNALS.names))
INSERT = f"INSERT INTO signals ({COLUMNS}) VALUES ({MARKS}) ON CONFLICT (id) DO NOTHING"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes; the defaults are those that the bars are stated for."""
    parser.add_argument("--signals", type=int, default=50_000)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--reads", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only",
        nargs="*",
        choices=[*PARTS, "settings"],
        default=None,
        help="parts to run; settings, which compares SQLite's, only when named",
    )


async def run(args: argparse.Namespace) -> dict[str, float | int | str]:
    """Every figure by its key."""
    wanted = set(args.only or PARTS)
    result: dict[str, float | int | str] = {"signals": args.signals, "stored": args.stored}
    with tempfile.TemporaryDirectory(prefix="argo-mw-bench-") as name:
        place = Path(name)
        if "sqlite" in wanted:
            result |= await _sqlite(args, place)
        if "loop" in wanted:
            result |= await _loop(args, place)
        if "postgres" in wanted:
            result |= await _postgres(args, place)
        if "reads" in wanted:
            result |= await _reads(args, place)
        if "settings" in wanted:
            result |= await _settings(args, place)
    return result


def make_signals(count: int, *, seed: int = 1) -> list[RecordedSignal]:
    """Signals as the reference application makes them: four voices each.

    They are taken out of the garbage collector's sight, or it would look through all of them
    again and again while the contenders run.
    """
    chance = random.Random(seed)
    started = 1_700_000_000_000_000
    signals = [
        RecordedSignal(
            chance.choice(SYMBOLS),
            chance.choice(("BUY", "SELL", "HOLD")),
            chance.uniform(50, 100),
            started + number * 1_000,
            chance.uniform(10, 500),
            tuple(
                RecordedVote(v, chance.choice(("BUY", "SELL")), chance.random(), 0.25)
                for v in VOICES
            ),
            "signals",
        )
        for number in range(count)
    ]
    gc.freeze()
    return signals


# -- SQLite: throughput ------------------------------------------------------------------


async def _sqlite(args: argparse.Namespace, place: Path) -> dict[str, float | int | str]:
    signals = make_signals(args.signals)
    rows = [signal.row().cells for signal in signals]
    batch = 0
    rates: dict[str, list[float]] = {}

    few = rows[:2_000]
    contenders: dict[str, tuple[Sequence[Cells], Contender]] = {
        "executemany": (rows, _executemany),
        "row_commit": (few, _row_commit),
        "aiosqlite": (rows, _aiosqlite),
        "sqlite_utils": (rows, _sqlite_utils),
        "sqlalchemy": (rows, _sqlalchemy),
    }
    for _ in range(args.rounds):
        batch = await _plugin_round(place, signals, rates)
        for name, (given, contender) in contenders.items():
            path = place / f"{name}.db"
            await _make_schema(path)
            started = time.perf_counter()
            await contender(path, given, batch)
            rates.setdefault(name, []).append(len(given) / (time.perf_counter() - started))
            _remove(path)
    rate = {name: statistics.median(found) for name, found in rates.items()}
    result: dict[str, float | int | str] = {
        "batch": batch,
        "rows_per_s": round(rate["plugin"]),
        "executemany_rows_per_s": round(rate["executemany"]),
        "row_commit_rows_per_s": round(rate["row_commit"]),
    }
    for name in contenders:
        result[f"vs_{name}"] = round(rate["plugin"] / rate[name], 2)
    return result


async def _plugin_round(
    place: Path, signals: Sequence[RecordedSignal], rates: dict[str, list[float]]
) -> int:
    """The whole plugin in an application: queue, batches, commits, tags, receipts."""
    state = place / "plugin"
    async with _application(state) as argo:
        store = store_of(argo)
        started = time.perf_counter()
        await _pump(store, signals)
        rates.setdefault("plugin", []).append(len(signals) / (time.perf_counter() - started))
        [(count,)] = await store.sink.read(Query("SELECT count(*) FROM signals"))
        assert count == len(signals), f"{count} of {len(signals)} rows are there"
        batch = store.writer.batch_size
    _remove(state / "persist.db")
    return batch


def _application(state: Path, **persist: object) -> Argo:
    return Argo.open(
        {"argo": {"state_dir": str(state), "strict": True}, "plugins": {"persist": persist}},
        plugins={
            "persist": PersistPlugin,
            "signals": SignalsPlugin,
            "cache": argo_mw_cache.plugin.CachePlugin,
        },
        installed=False,
    )


async def _pump(store: RecordStore, signals: Sequence[RecordedSignal]) -> None:
    """Record as fast as it goes, in tasks that let others run, and await every receipt."""

    async def produce(mine: Sequence[RecordedSignal]) -> None:
        receipts = []
        for number, signal in enumerate(mine):
            receipts.append(await store.record(signal.row()))
            if number % 32 == 0:
                await asyncio.sleep(0)
        for receipt in receipts:
            await receipt

    async with asyncio.TaskGroup() as group:
        for start in range(8):
            group.create_task(produce(signals[start::8]))


async def _make_schema(path: Path) -> None:
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    await sink.aclose()


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


async def _executemany(path: Path, rows: Sequence[Cells], batch: int) -> None:
    connection = _connect(path)
    for start in range(0, len(rows), batch):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows[start : start + batch])
        connection.execute("COMMIT")
    connection.close()


async def _row_commit(path: Path, rows: Sequence[Cells], batch: int) -> None:
    connection = _connect(path)
    for row in rows:
        connection.execute(INSERT, row)
    connection.close()


async def _aiosqlite(path: Path, rows: Sequence[Cells], batch: int) -> None:
    import aiosqlite

    async with aiosqlite.connect(path) as db:
        await db.execute("PRAGMA synchronous=FULL")
        for start in range(0, len(rows), batch):
            for row in rows[start : start + batch]:
                await db.execute(INSERT, row)
            await db.commit()


async def _sqlite_utils(path: Path, rows: Sequence[Cells], batch: int) -> None:
    import sqlite_utils

    db = sqlite_utils.Database(path)
    db.execute("PRAGMA synchronous=FULL")
    for start in range(0, len(rows), batch):
        part = [dict(zip(SIGNALS.names, row, strict=True)) for row in rows[start : start + batch]]
        # By itself it would commit every 66 rows, as many as 999 parameters are enough for.
        with db.atomic():
            db["signals"].insert_all(part, ignore=True, batch_size=batch)
    db.close()


async def _sqlalchemy(path: Path, rows: Sequence[Cells], batch: int) -> None:
    from sqlalchemy import MetaData, Table, create_engine, event
    from sqlalchemy.orm import Session, registry

    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def durable(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=FULL")

    class Stored:
        def __init__(self, **values: object) -> None:
            for name, value in values.items():
                setattr(self, name, value)

    table = Table("signals", MetaData(), autoload_with=engine)
    registry().map_imperatively(Stored, table, primary_key=[table.c.id])
    with Session(engine) as session:
        for start in range(0, len(rows), batch):
            for row in rows[start : start + batch]:
                session.add(Stored(**dict(zip(SIGNALS.names, row, strict=True))))
            session.commit()
            session.expunge_all()
    engine.dispose()


# -- the event loop ----------------------------------------------------------------------


class _Discarding:
    """A sink that keeps nothing and costs nothing."""

    dialect: Dialect = "sqlite"
    place = "nowhere"

    async def open(self, schema: Schema, *, migrate: bool = True) -> None: ...

    async def write(self, rows: Sequence[Row]) -> str:
        await asyncio.sleep(0)
        return "sink"

    async def read(self, query: Query) -> Sequence[Cells]:
        return []

    async def change(self, query: Query) -> int:
        return 0

    async def check(self) -> Sequence[str]:
        return []

    async def backup(self, to: Path) -> None: ...

    async def aclose(self) -> None: ...


async def _loop(args: argparse.Namespace, place: Path) -> dict[str, float | int | str]:
    signals = make_signals(args.signals)
    idle, busy, delays, discarded = [], [], [], []
    for _ in range(args.rounds):
        path = place / "loop.db"
        idle.append(await _rate(SqliteSink(path), signals))
        _remove(path)
        async with _beside(_spin()):
            busy.append(await _rate(SqliteSink(path), signals))
        _remove(path)
        for found, sink in ((delays, SqliteSink(path)), (discarded, _Discarding())):
            lateness: list[float] = []
            more = make_signals(4 * args.signals)
            async with _beside(_heartbeat(lateness)):
                await _rate(sink, more)
            _remove(path)
            found.append(_percentile(lateness, 0.999) * 1e3)
    idle_rate, busy_rate = statistics.median(idle), statistics.median(busy)
    delay, base = statistics.median(delays), statistics.median(discarded)
    return {
        "idle_rows_per_s": round(idle_rate),
        "busy_rows_per_s": round(busy_rate),
        "busy_vs_idle": round(busy_rate / idle_rate, 2),
        "loop_delay_ms": round(delay, 2),
        "loop_delay_discarding_ms": round(base, 2),
        "loop_delay_ratio": round(delay / base, 2),
    }


async def _rate(sink: SqliteSink | _Discarding, signals: Sequence[RecordedSignal]) -> float:
    async with RecordStore(sink, WriterOptions(), clock=SystemClock(), schema=SCHEMA) as store:
        started = time.perf_counter()
        await _pump(store, signals)
        return len(signals) / (time.perf_counter() - started)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _spin() -> None:
    """Keep the loop busy half its time, 5 ms of 10."""
    while True:
        until = time.perf_counter() + 0.005
        while time.perf_counter() < until:
            sum(range(50))
        await asyncio.sleep(0.005)


async def _heartbeat(lateness: list[float]) -> None:
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        lateness.append(time.perf_counter() - due)


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# -- PostgreSQL --------------------------------------------------------------------------


async def _postgres(args: argparse.Namespace, place: Path) -> dict[str, float | int | str]:
    import asyncpg

    signals = make_signals(args.signals)
    rows = [signal.row().cells for signal in signals]
    numbered = ", ".join(f"${i}" for i in range(1, len(SIGNALS.names) + 1))
    insert = f"INSERT INTO signals ({COLUMNS}) VALUES ({numbered}) ON CONFLICT (id) DO NOTHING"
    rates: dict[str, list[float]] = {"plugin": [], "executemany": [], "row_commit": []}
    batch = 0
    with postgres() as server:
        for number in range(args.rounds):
            url = server.database(f"plugin{number}")
            await _settle(server.url)
            async with _application(place / f"pg{number}", url=url) as argo:
                store = store_of(argo)
                started = time.perf_counter()
                await _pump(store, signals)
                rates["plugin"].append(len(signals) / (time.perf_counter() - started))
                batch = store.writer.batch_size
                [(count,)] = await store.sink.read(Query("SELECT count(*) FROM signals"))
                assert count == len(signals), f"{count} of {len(signals)} rows are there"
            url = server.database(f"bare{number}")
            sink = PostgresSink(url)
            await sink.open(SCHEMA)
            await sink.aclose()
            connection = await asyncpg.connect(url)
            await connection.set_type_codec(
                "uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
            )
            await _settle(server.url)
            started = time.perf_counter()
            for start in range(0, len(rows), batch):
                await connection.executemany(insert, rows[start : start + batch])
            rates["executemany"].append(len(rows) / (time.perf_counter() - started))
            await connection.execute("TRUNCATE signals")
            few = rows[:1_000]
            started = time.perf_counter()
            for row in few:
                await connection.execute(insert, *row)
            rates["row_commit"].append(len(few) / (time.perf_counter() - started))
            await connection.close()
    rate = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "pg_batch": batch,
        "pg_rows_per_s": round(rate["plugin"]),
        "pg_executemany_rows_per_s": round(rate["executemany"]),
        "pg_vs_executemany": round(rate["plugin"] / rate["executemany"], 2),
        "pg_vs_row_commit": round(rate["plugin"] / rate["row_commit"], 2),
    }


async def _settle(url: str) -> None:
    """Have the server write what it holds, so that no contender pays for the one before it."""
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute("CHECKPOINT")
    await connection.close()


# -- reads -------------------------------------------------------------------------------


class _TimedSink(SqliteSink):
    """Notes the time that each query takes in its reader's thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seconds: list[float] = []

    def select(self, query: Query) -> list[Cells]:
        started = time.perf_counter()
        rows = super().select(query)
        self.seconds.append(time.perf_counter() - started)
        return rows


async def _reads(args: argparse.Namespace, place: Path) -> dict[str, float | int | str]:
    state = place / "reads"
    state.mkdir()
    path = state / "persist.db"
    await _fill(path, args.stored)
    sink = _TimedSink(path)
    chance = random.Random(3)
    asked = [chance.choice(SYMBOLS) for _ in range(args.reads)]
    async with RecordStore(sink, WriterOptions(), clock=SystemClock(), schema=SCHEMA) as store:
        recorded = RecordedSignals()
        recorded.use(Database(lambda: store))
        await _ask(recorded, asked)
        sink.seconds.clear()
        await _ask(recorded, asked)
        alone = _percentile(sink.seconds, 0.99) * 1e3
        started = time.perf_counter()
        await recorded.latest_of_many(SYMBOLS, 10)
        many = (time.perf_counter() - started) * 1e3
        sink.seconds.clear()
        async with _beside(_write_on(store, args.signals)):
            await _ask(recorded, asked)
        under_write = _percentile(sink.seconds, 0.99) * 1e3
    return {
        "latest_p99_ms": round(alone, 3),
        "latest_cached_p99_ms": round(await _cached(state, asked), 4),
        "latest_under_write_p99_ms": round(under_write, 3),
        "latest_of_500_ms": round(many, 1),
    }


async def _fill(path: Path, count: int) -> None:
    sink = SqliteSink(path)
    await sink.open(SCHEMA)
    step = 50_000
    for start in range(0, count, step):
        rows = [s.row() for s in make_signals(min(step, count - start), seed=start)]
        for at in range(0, len(rows), 2_048):
            await sink.write(rows[at : at + 2_048])
    await sink.aclose()


async def _ask(recorded: RecordedSignals, symbols: Sequence[str]) -> None:
    for symbol in symbols:
        assert len(await recorded.latest(symbol, 10)) == 10


async def _write_on(store: RecordStore, count: int) -> None:
    seed = 0
    while True:
        seed += 1
        await _pump(store, make_signals(count // 5, seed=-seed))


async def _cached(state: Path, asked: Sequence[str]) -> float:
    async with _application(state) as argo:
        # An answer is kept once the versions of its tags have been seen before a load.
        while not all(["cache" in (await argo.outcome("latest", symbol=s)).via for s in SYMBOLS]):
            pass
        seconds = []
        for symbol in asked:
            started = time.perf_counter()
            await argo.call("latest", symbol=symbol)
            seconds.append(time.perf_counter() - started)
    return _percentile(seconds, 0.99) * 1e3


# -- SQLite's settings -------------------------------------------------------------------

SETTINGS = {
    "default": "",
    "normal": "synchronous=NORMAL",
    "cache_64mb": "cache_size=-64000",
    "mmap_256mb": "mmap_size=268435456",
    "temp_store_memory": "temp_store=MEMORY",
    "checkpoint_1000": "wal_autocheckpoint=1000",
    "checkpoint_4000": "wal_autocheckpoint=4000",
    "checkpoint_16000": "wal_autocheckpoint=16000",
}


async def _settings(args: argparse.Namespace, place: Path) -> dict[str, float | int | str]:
    """What a setting does to a database of many rows: rows/s written, and reads' p99."""
    path = place / "settings.db"
    await _fill(path, args.stored)
    chance = random.Random(4)
    asked = [chance.choice(SYMBOLS) for _ in range(args.reads)]
    written: dict[str, list[float]] = {}
    read: dict[str, list[float]] = {}
    for number in range(args.rounds):
        for position, (name, pragma) in enumerate(SETTINGS.items()):
            seed = 1_000_000 * (number + 1) + position
            rows = [signal.row() for signal in make_signals(args.signals, seed=seed)]
            sink = _SetSink(path, pragma)
            await sink.open(SCHEMA)
            started = time.perf_counter()
            for at in range(0, len(rows), 2_048):
                await sink.write(rows[at : at + 2_048])
            written.setdefault(name, []).append(len(rows) / (time.perf_counter() - started))
            for symbol in asked:
                await sink.read(Query(*latest(symbol, 10, "")))
            read.setdefault(name, []).append(_percentile(sink.seconds, 0.99) * 1e3)
            await sink.aclose()
    return {
        **{f"{n}_rows_per_s": round(statistics.median(found)) for n, found in written.items()},
        **{f"{n}_p99_ms": round(statistics.median(found), 3) for n, found in read.items()},
    }


class _SetSink(_TimedSink):
    """A sink whose connections have one more setting."""

    def __init__(self, path: Path, pragma: str) -> None:
        super().__init__(path)
        self._pragma = pragma

    def _connect(self, uri: str) -> sqlite3.Connection:
        connection = super()._connect(uri)
        if self._pragma:
            connection.execute(f"PRAGMA {self._pragma}")
        return connection

    def _open(self, migrate: bool) -> None:
        super()._open(migrate)
        if self._pragma and self._connection is not None:
            self._connection.execute(f"PRAGMA {self._pragma}")
