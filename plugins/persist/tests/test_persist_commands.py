"""The commands ``argo-mw db …``, through the real command line."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argo_mw.cli import main as cli_main
from argo_mw.plugin import MICROSECONDS, Charge, Codecs, Cost
from argo_mw_persist import Answer, Schema, SqliteSink
from argo_mw_persist.commands import db
from argo_mw_persist.costs import charge_row
from argo_mw_persist.records import place_of
from argo_mw_persist.schema import OWN_TABLES

AT = 1_750_000_000 * MICROSECONDS


@pytest.fixture
def stored(state: Path) -> Path:
    """The file in which an application without configuration keeps rows, with some in it."""
    path = state / "persist.db"

    def encode(value: object) -> bytes:
        return Codecs().encode(value, place_of("opinion", "k"))

    answers = [
        Answer("opinion", "k", "AAPL", "glm", "", AT, encode("buy low\nsell high")),
        Answer("opinion", "k", "IBM", "glm", "", AT + 1, encode({"a": [1]})),
        Answer("opinion", "k", "IBM", "glm", "acme", AT + 2, encode("theirs")),
        Answer("broken", "k", "IBM", "glm", "", AT, b"no value"),
    ]
    now = time.time()
    unknown = Cost(None, 10, 20, 1.0, estimated=True)
    charges = [
        Charge(now, "default", "opinion", "A", "glm", "ok", Cost(0.25, 10, 20, 1.0), 0.5),
        Charge(now, "default", "opinion", "A", "glm", "failed", unknown, 0.5),
        Charge(now, "acme", "opinion", "A", "glm", "ok", Cost(9.0, 10, 20, 1.0), 0.5),
        Charge(now, "default", "opinion", "A", "glm", "saved", Cost(0.5), layer="cache"),
    ]

    async def fill() -> None:
        sink = SqliteSink(path)
        await sink.open(Schema(OWN_TABLES))
        await sink.write([*(answer.row() for answer in answers), *map(charge_row, charges)])
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
    """The plugin must be installed for its commands to be found."""
    from importlib.metadata import entry_points

    if not entry_points(group="argo_mw", name="persist"):
        pytest.skip("install plugins/persist (make test does)")


def test_answers_shows_what_an_operation_was_answered(invoke):
    result = invoke("db", "answers", "opinion", "AAPL")
    assert result.exit_code == 0, result.output
    assert "buy low sell high" in result.stdout
    page = invoke("db", "answers", "opinion", "--json", "--limit", "1")
    [newest] = json.loads(page.stdout)
    assert (newest["subject"], newest["upstream"], newest["answer"]) == ("IBM", "glm", {"a": [1]})
    place = page.stderr.strip().removeprefix("more: --after ")
    [older] = json.loads(invoke("db", "answers", "opinion", "--json", "--after", place).stdout)
    assert older["subject"] == "AAPL"


def test_answers_says_which_ones_cannot_be_read(invoke):
    result = invoke("db", "answers", "broken")
    assert result.exit_code == 0, result.output
    assert "cannot be read" in result.stdout


def test_answers_of_another_tenant_are_shown_when_asked_for(invoke):
    assert "theirs" not in invoke("db", "answers", "opinion").stdout
    assert "theirs" in invoke("db", "answers", "opinion", "--tenant", "acme").stdout


def test_costs_show_what_was_spent_and_what_was_saved(invoke):
    mine = ("costs", "--by", "upstream", "--tenant", "default", "--here")
    result = invoke(*mine)
    assert result.exit_code == 0, result.output
    shown = ["glm", "2", "1", "1", "20", "0", "40", "0.2500", "+", "1", "unknown", "0.500"]
    assert [*shown, "0.5000"] in [line.split() for line in result.stdout.splitlines()]
    [one] = json.loads(invoke(*mine, "--upstream", "glm", "--json").stdout)
    assert ("glm", 0.25, 1) == (one["upstream"], one["usd"], one["unpriced_calls"])
    assert {"cache": 0.5} == one["saved_usd"]
    [both] = json.loads(invoke("costs", "--by", "operation", "--here", "--json").stdout)
    assert 9.25 == both["usd"]
    assert [] == json.loads(invoke("costs", "--operation", "news", "--json").stdout)


def test_prune_deletes_what_is_not_kept_any_longer(invoke, tmp_path, stored):
    assert "kept for ever" in invoke("db", "prune").stderr
    with (tmp_path / "argo.toml").open("a") as file:
        # The rows were recorded just now; a hundred-millionth of a day ago is long enough.
        file.write("[plugins.persist.retention.days]\nanswers = 1e-8\n")
    result = invoke("db", "prune")
    assert result.exit_code == 0, result.output
    assert "answers: 4 rows deleted" in result.stderr
    assert json.loads(invoke("db", "answers", "opinion", "--json").stdout) == []


def test_check_says_that_it_is_well(invoke):
    result = invoke("db", "check")
    assert result.exit_code == 0
    assert "is well" in result.stderr


def test_check_fails_on_a_database_of_the_future(invoke, stored):
    with sqlite3.connect(stored) as database:
        database.execute("UPDATE argo_tables SET version = 99")
    result = invoke("db", "check")
    assert result.exit_code == 1
    assert "upgrade the plugin that declares it" in result.stderr
    assert "Traceback" not in result.output


def test_migrate_and_backup(invoke, tmp_path):
    assert "up to date" in invoke("db", "migrate").stderr
    assert invoke("db", "backup", "copy.db").exit_code == 0
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT count(*) FROM answers").fetchone() == (4,)
    again = invoke("db", "backup", "copy.db")
    assert (again.exit_code, "overwrites nothing" in again.stderr) == (1, True)


def test_the_group_holds_every_command():
    assert {"answers", "prune", "check", "migrate", "backup"} == set(db.commands)
