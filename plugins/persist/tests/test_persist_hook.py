"""The hooks: sinks of other plugins, and their tables."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from argo_mw import Argo, ConfigError, PluginError
from argo_mw.plugin import Action, Row, UpstreamError, hookimpl
from argo_mw_persist import Answer, PersistPlugin, Schema, SinkUnavailable, SqliteSink, store_of
from argo_mw_persist.spool import SpooledSink
from argo_mw_persist.testing import SAMPLES, SCHEMA, SinkConformance, sample

from .conftest import declaration


class Elsewhere(SqliteSink):
    """What a third party would write: here a file under another name."""


class Remote:
    """A sink that is away."""

    dialect = "sqlite"
    place = "far away"

    async def open(self, schema: Schema, *, migrate: bool = True) -> None:
        raise SinkUnavailable("it does not answer")

    async def aclose(self) -> None: ...


class Third:
    """A third party's plugin."""

    def __init__(self, **sinks) -> None:
        self.sinks = sinks

    @hookimpl(optionalhook=True)
    def register_sinks(self):
        return self.sinks


def application(url: str, **plugins: object) -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {"persist": {"url": url, "on_sigterm": False}},
        },
        plugins={"persist": PersistPlugin, **plugins},
        installed=False,
    )


def elsewhere(url: str) -> Elsewhere:
    return Elsewhere(Path(urlsplit(url).path))


def answer() -> Row:
    return Answer("bars", "k", "AAPL", None, "", 1, b"").row()


class TestElsewhere(SinkConformance):
    """The suite, as a third party uses it."""

    @pytest.fixture
    async def sink(self, tmp_path):
        sink = elsewhere(f"elsewhere://{tmp_path / 'there.db'}")
        await sink.open(SCHEMA)
        yield sink
        await sink.aclose()


async def test_a_sink_that_another_plugin_registers_is_used(tmp_path):
    path = tmp_path / "there.db"
    async with application(f"elsewhere://{path}", third=Third(elsewhere=elsewhere)) as argo:
        receipt = await store_of(argo).record(answer())
        assert await receipt == "sink"
        assert len((await argo.call("answers", of="bars")).answers) == 1
    assert path.exists()


async def test_a_sink_of_another_plugin_is_bridged_while_it_is_away(state):
    third = Third(far=lambda url: Remote())
    async with application("far://there", third=third) as argo:
        store = store_of(argo)
        assert isinstance(store.sink, SpooledSink)
        receipt = await store.record(answer())
        assert await receipt == "spool"


async def test_a_scheme_that_is_taken_is_refused():
    with pytest.raises(PluginError, match="'third' registers sinks for sqlite://, which is taken"):
        async with application("sqlite:///x.db", third=Third(sqlite=elsewhere)):
            pass


async def test_a_scheme_that_no_plugin_registers_is_named_with_those_that_are():
    with pytest.raises(
        PluginError, match="url begins with near://, which no sink serves.*elsewhere://.*sqlite://"
    ):
        async with application("near://x", third=Third(elsewhere=elsewhere)):
            pass


async def test_a_table_that_another_plugin_declares_is_made_written_and_read(sampler, tmp_path):
    async with application(f"sqlite:///{tmp_path / 'samples.db'}", sampler=sampler) as argo:
        store = store_of(argo)
        receipt = await store.record(sample("A", 1))
        assert await receipt == "sink"
        database = sampler.database
        assert database.dialect == "sqlite"
        read = ("SELECT name, number FROM samples WHERE name = ? ORDER BY id", ("A",))
        assert [("A", 1)] == await database.read(*read)
        changed = await database.change(
            "UPDATE samples SET number = ? WHERE name = ?", (2, "A"), tags=["samples:A"]
        )
        assert changed == 1
        assert [("A", 2)] == await database.read(*read)
        await store.record(sample("A", 3))
        await database.flush()
        assert [("A", 2), ("A", 3)] == await database.read(*read)


async def test_many_rows_are_written_at_once_and_the_refused_ones_are_named(sampler, tmp_path):
    broken = Row("samples", (bytes(16), None, 1, None, False, None))
    async with application(f"sqlite:///{tmp_path / 'samples.db'}", sampler=sampler) as argo:
        rows = [*(sample("A", n) for n in range(10)), broken]
        [(row, reason)] = (await sampler.database.write(rows)).items()
        assert broken is row
        assert "NOT NULL" in reason
        assert [(10,)] == await sampler.database.read("SELECT count(*) FROM samples")
        assert store_of(argo).writer.held == 0


async def test_a_database_that_cannot_answer_raises_an_error_of_an_upstream(sampler, tmp_path):
    async with application(f"sqlite:///{tmp_path / 'samples.db'}", sampler=sampler) as argo:
        await store_of(argo).sink.aclose()
        with pytest.raises(UpstreamError, match="not open") as caught:
            await sampler.database.read("SELECT 1")
        assert caught.value.action is Action.RETRY


async def test_the_database_stays_the_same_when_another_is_configured(sampler, tmp_path):
    async with application(f"sqlite:///{tmp_path / 'samples.db'}", sampler=sampler) as argo:
        database = sampler.database
        await argo.reload(
            {
                "argo": {"shared": "memory://", "strict": True},
                "plugins": {
                    "persist": {"url": f"sqlite:///{tmp_path / 'b.db'}", "on_sigterm": False}
                },
            }
        )
        assert database is sampler.database
        await (await store_of(argo).record(sample("B", 1)))
        assert [("B",)] == await database.read("SELECT name FROM samples")


async def test_a_row_for_a_table_that_no_plugin_declares_is_refused(tmp_path):
    async with application(f"sqlite:///{tmp_path / 'samples.db'}") as argo:
        with pytest.raises(ConfigError, match="no installed plugin declares the table 'samples'"):
            await store_of(argo).record(sample("A", 1))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "Robert'); DROP"}, "name"),
        ({"colums": {}}, "colums"),
        ({"columns": {"name": "text"}}, "no column 'id' of the type 'id'"),
        ({"columns": {"id": "id", "name": "varchar"}}, "varchar"),
        ({"tag_columns": ["nome"]}, "'nome'"),
        ({"tags": None}, "`tags`, a function, and `tag_columns`"),
        ({"make": "rows"}, "`make` a function"),
        ({"migrations": []}, "migrations"),
        ({"name": "answers"}, "'answers' is declared twice"),
    ],
)
async def test_a_table_that_is_declared_wrongly_names_what_is_wrong(changes, complaint, tmp_path):
    class Wrong:
        @hookimpl(optionalhook=True)
        def register_tables(self):
            return [declaration(SAMPLES, **changes)]

    with pytest.raises(PluginError, match=complaint):
        async with application(f"sqlite:///{tmp_path / 'samples.db'}", wrong=Wrong()):
            pass
