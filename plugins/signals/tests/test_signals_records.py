"""The commands for recorded signals, and the import of the original service's table."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argo_mw.cli import main as cli_main
from argo_mw.plugin import MICROSECONDS, SystemClock
from argo_mw_persist import Database, RecordStore, SqliteSink, WriterOptions
from argo_mw_persist.application import schema_of
from argo_mw_signals import RecordedSignal, RecordedVote, SignalsError
from argo_mw_signals.importer import import_signals
from argo_mw_signals.recording import COLUMNS, DECLARATION

SCHEMA = schema_of({"signals": [DECLARATION]})
AT = 1_750_000_000 * MICROSECONDS
OLD = """CREATE TABLE signals (id INTEGER PRIMARY KEY AUTOINCREMENT, signal_id TEXT UNIQUE NOT NULL,
    symbol TEXT NOT NULL, action TEXT NOT NULL, entry_price REAL NOT NULL, target_price REAL,
    confidence REAL NOT NULL, strategy TEXT, data_source TEXT DEFAULT 'weighted_consensus',
    timestamp TEXT NOT NULL, outcome TEXT, exit_price REAL, profit_loss_pct REAL,
    exit_timestamp TEXT)"""


@pytest.fixture
def stored(state: Path) -> Path:
    """The file in which an application without configuration keeps signals, with some in it."""
    path = state / "persist.db"
    signals = [
        RecordedSignal(
            f"S{n % 2}", "BUY", 0.5, AT + n * MICROSECONDS, 10.0, (RecordedVote("trend", "BUY"),)
        )
        for n in range(30)
    ]
    signals.append(
        RecordedSignal("ODD", "SELL", 1.0, AT, outcome="loss", is_active=False, profit=-0.1)
    )

    async def fill() -> None:
        sink = SqliteSink(path)
        await sink.open(SCHEMA)
        await sink.write([signal.row() for signal in signals])
        await sink.aclose()

    asyncio.run(fill())
    return path


@pytest.fixture
def invoke(tmp_path, monkeypatch, stored):
    """Runs ``argo-mw`` with the arguments."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "argo.toml").write_text('[argo]\nshared = "memory://"\n')

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli_main.cli, arguments, prog_name="argo-mw")

    return run


@pytest.fixture(autouse=True)
def installed():
    """The plugins must be installed for their commands to be found."""
    from importlib.metadata import entry_points

    for name in ("persist", "signals"):
        if not entry_points(group="argo_mw", name=name):
            pytest.skip(f"install plugins/{name} (make test does)")


def test_latest_shows_the_newest_of_each_symbol(invoke):
    found = json.loads(invoke("signals", "latest", "S0", "S1", "S2", "--json").stdout)
    assert [(one["symbol"], one["time"]) for one in found] == [
        ("S0", "2025-06-15T15:07:08+00:00"),
        ("S1", "2025-06-15T15:07:09+00:00"),
    ]
    assert found[0]["voices"] == {"trend": {"action": "BUY", "reason": ""}}


def test_history_shows_a_page_and_how_to_go_on(invoke):
    first = invoke("signals", "history", "S0", "--limit", "4", "--json")
    assert len(json.loads(first.stdout)) == 4
    after = first.stderr.partition("--after ")[2].strip()
    rest = invoke("signals", "history", "S0", "--after", after, "--json")
    assert len(json.loads(rest.stdout)) == 11
    assert "--after" not in rest.stderr


def test_history_as_a_table(invoke):
    result = invoke("signals", "history", "--outcome", "loss")
    assert result.exit_code == 0
    assert "ODD" in result.stdout
    assert "-10.00%" in result.stdout
    assert "S0" not in result.stdout


def test_export_writes_every_signal_as_csv(invoke, tmp_path):
    result = invoke("signals", "export", "all.csv")
    assert result.exit_code == 0, result.output
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 31
    assert rows[0]["timestamp"] == "2025-06-15T15:07:09+00:00"
    assert [row["profit"] for row in rows if row["symbol"] == "ODD"] == ["-0.1"]


def test_export_writes_parquet_that_pandas_reads(invoke, tmp_path):
    import pandas as pd

    assert invoke("signals", "export", "s0.parquet", "--symbol", "S0").exit_code == 0
    frame = pd.read_parquet(tmp_path / "s0.parquet")
    assert len(frame) == 15
    assert {"S0"} == set(frame["symbol"])
    assert str(frame.index.tz) == "UTC"


def test_export_of_nothing_is_an_empty_file_of_the_right_form(invoke, tmp_path):
    import pandas as pd

    assert invoke("signals", "export", "none.parquet", "--symbol", "NONE").exit_code == 0
    assert len(pd.read_parquet(tmp_path / "none.parquet")) == 0


def test_export_asks_for_a_form_that_it_knows(invoke):
    result = invoke("signals", "export", "all.xlsx")
    assert result.exit_code == 2
    assert ".csv nor .parquet" in result.stderr


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_export_overwrites_nothing_and_says_where_it_cannot_write(invoke, tmp_path, ending):
    (tmp_path / f"kept.{ending}").write_text("kept")
    for name, complaint in (
        (f"kept.{ending}", f"kept.{ending} exists; an export overwrites nothing"),
        (f"none/new.{ending}", f"new.{ending} cannot be written: No such file or directory"),
    ):
        result = invoke("signals", "export", name)
        assert (result.exit_code, complaint in result.stderr) == (1, True)
    assert (tmp_path / f"kept.{ending}").read_text() == "kept"


def test_close_records_how_a_signal_ended(invoke):
    [newest] = json.loads(invoke("signals", "latest", "S0", "--json").stdout)
    result = invoke("signals", "close", newest["id"], "--exit-price", "11.0")
    assert result.exit_code == 0, result.output
    assert "S0 BUY ended in a win: +10.00%" in result.stderr
    [closed] = json.loads(invoke("signals", "history", "--outcome", "win", "--json").stdout)
    assert newest["id"] == closed["id"]


def test_close_says_what_it_needs(invoke):
    assert "not the identifier" in invoke("signals", "close", "nonsense").stderr
    unknown = "0197f0d3-0000-7000-8000-000000000000"
    assert "there is no signal" in invoke("signals", "close", unknown, "--profit", "0.1").stderr
    [newest] = json.loads(invoke("signals", "latest", "S0", "--json").stdout)
    assert "exit_price or its profit" in invoke("signals", "close", newest["id"]).stderr


def test_performance_shows_the_consensus_and_every_voice(invoke):
    result = invoke("signals", "performance", "ODD")
    assert result.exit_code == 0, result.output
    [line] = [line for line in result.stdout.splitlines() if "consensus" in line]
    assert ["consensus", "1", "0", "0.0%", "-10.00%", "-10.00%"] == line.split()
    [one] = json.loads(invoke("signals", "performance", "ODD", "--json").stdout)
    assert (one["voice"], one["closed"], one["win_rate"]) == ("", 1, 0.0)


def old_table(path: Path) -> Path:
    rows = [
        ("a", "AAPL", "buy", 100.0, "2025-01-15T10:00:00", "win", 110.0, 10.0, "2025-01-16T10:00"),
        ("b", "BTC-USD", "SELL", 9e4, "2025-01-15T10:00:00+00:00", None, None, None, None),
        ("c", "IBM", "BUY", 50.0, "yesterday", None, None, None, None),
    ]
    with sqlite3.connect(path) as old:
        old.execute(OLD)
        old.executemany(
            "INSERT INTO signals (signal_id, symbol, action, entry_price, timestamp, outcome, "
            "exit_price, profit_loss_pct, exit_timestamp, confidence, target_price) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 87.5, 120.0)",
            rows,
        )
    return path


def test_import_brings_an_older_table_over_once(invoke, tmp_path, stored):
    old_table(tmp_path / "argo.db")
    for _ in range(2):
        result = invoke("signals", "import", "argo.db", "--zone", "America/New_York")
        assert result.exit_code == 0, result.output
        assert "3 signals read" in result.stderr
        assert "1 refused" in result.stderr
        assert "yesterday" in result.stderr
    with sqlite3.connect(stored) as database:
        rows = database.execute(
            "SELECT symbol, action, confidence, timestamp, price, upstream, outcome, is_active, "
            "exit_price, profit, detail FROM signals WHERE confidence = 87.5 ORDER BY symbol"
        ).fetchall()
    aapl, btc = rows
    # 10:00 in New York is 15:00 UTC in January.
    assert aapl[:5] == ("AAPL", "BUY", 87.5, 1_736_953_200 * MICROSECONDS, 100.0)
    assert aapl[5:10] == ("weighted_consensus", "win", 0, 110.0, 0.1)
    assert json.loads(aapl[10]) == {"id": 1, "signal_id": "a", "target_price": 120.0}
    assert (btc[0], btc[3], btc[6], btc[7]) == ("BTC-USD", 1_736_935_200 * MICROSECONDS, None, 1)


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    """A database with the table of signals."""
    options = WriterOptions()
    async with RecordStore(SqliteSink(path), options, clock=SystemClock(), schema=SCHEMA) as store:
        yield Database(lambda: store)


async def imported(tmp_path: Path, columns: str, *rows: tuple[object, ...]):
    """What came of a table of the old kind with these rows, and what its import said."""
    with sqlite3.connect(tmp_path / "old.db") as old:
        old.execute(f"CREATE TABLE signals ({columns})")
        old.executemany(f"INSERT INTO signals VALUES ({', '.join('?' * len(rows[0]))})", rows)
    async with opened(tmp_path / "new.db") as database:
        done = await import_signals(tmp_path / "old.db", database)
        found = await database.read(f"SELECT {', '.join(COLUMNS)} FROM signals ORDER BY rowid")
    return [RecordedSignal.from_cells(row) for row in found], done


PLAIN = "id INTEGER PRIMARY KEY, symbol, action, confidence, timestamp"
THEN = AT // MICROSECONDS


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ((1, "A" * 65, "BUY", 1.0, THEN), "1 to 64 characters"),
        ((1, "", "BUY", 1.0, THEN), "1 to 64 characters"),
        ((1, "A", "BUY", "inf", THEN), "finite confidence"),
        ((1, "A", "BUY", "high", THEN), "could not convert"),
        ((1, "A", "BUY", 1.0, 1000 * THEN), "not a time in seconds"),
        ((1, "A", "BUY", 1.0, float("inf")), "not a time in seconds"),
        ((1, "A", "BUY", 1.0, "soon"), "soon"),
        ((1, "A", None, 1.0, THEN), "has no action"),
    ],
)
async def test_a_row_that_makes_no_sense_does_not_stop_an_import(tmp_path, row, complaint):
    found, done = await imported(tmp_path, PLAIN, row, (2, "B", "BUY", 1.0, THEN))
    assert ["B"] == [signal.symbol for signal in found]
    assert (2, 1) == (done.read, done.refused)
    [problem] = done.problems
    assert complaint in problem
    assert "row 1" in problem


async def test_import_minds_neither_the_case_of_columns_nor_where_numbering_begins(tmp_path):
    columns = "ID INTEGER PRIMARY KEY, Symbol, ACTION, Confidence, Timestamp"
    rows = [(n, f"S{n}", "BUY", 1.0, THEN) for n in (-5, 0, 1)]
    found, done = await imported(tmp_path, columns, *rows)
    assert ["S-5", "S0", "S1"] == [signal.symbol for signal in found]
    assert (3, 0) == (done.read, done.refused)


async def test_rows_of_one_number_are_different_rows(tmp_path):
    columns = "id, symbol, action, confidence, timestamp"
    found, _ = await imported(tmp_path, columns, *((1, s, "BUY", 1.0, THEN) for s in "AB"))
    assert ["A", "B"] == [signal.symbol for signal in found]


async def test_import_works_out_what_was_earned_and_keeps_words_of_the_tables_own(tmp_path):
    columns = f"{PLAIN}, outcome, price, exit_price, is_active"
    found, _ = await imported(
        tmp_path,
        columns,
        (1, "A", "SELL", 1.0, THEN, "WIN", 100.0, 90.0, 0),
        (2, "B", "BUY", 1.0, THEN, "win", None, None, "false"),
        (3, "C", "BUY", 1.0, THEN, "stopped_out", None, None, 0),
        (4, "D", "BUY", 1.0, THEN, None, None, None, "true"),
    )
    assert [("win", pytest.approx(0.1)), ("win", None), (None, None), (None, None)] == [
        (signal.outcome, signal.profit) for signal in found
    ]
    assert [False, False, False, True] == [signal.is_active for signal in found]
    assert {"id": 3, "outcome": "stopped_out"} == json.loads(found[2].detail)


def test_import_asks_for_a_time_zone_that_there_is(invoke, tmp_path):
    result = invoke(
        "signals", "import", str(old_table(tmp_path / "argo.db")), "--zone", "Mars/Base"
    )
    assert result.exit_code == 1
    assert "no time zone 'Mars/Base'" in result.stderr


async def test_import_says_when_there_is_nothing_to_import(tmp_path):
    async with opened(tmp_path / "signals.db") as database:
        with pytest.raises(SignalsError, match="no file"):
            await import_signals(tmp_path / "none.db", database)
        sqlite3.connect(tmp_path / "empty.db").close()
        with pytest.raises(SignalsError, match="no signals table"):
            await import_signals(tmp_path / "empty.db", database)
        assert await database.read("SELECT count(*) FROM signals") == [(0,)]


def test_an_import_of_which_nothing_is_kept_fails(invoke, tmp_path):
    with sqlite3.connect(tmp_path / "argo.db") as old:
        old.execute(OLD)
        old.execute(
            "INSERT INTO signals (signal_id, symbol, action, entry_price, timestamp, confidence) "
            "VALUES ('c', 'IBM', 'BUY', 50.0, 'yesterday', 1.0)"
        )
    result = invoke("signals", "import", "argo.db")
    assert result.exit_code == 1
    assert "nothing of argo.db could be imported" in result.stderr
