"""Sinks of other plugins, chosen by the scheme of their URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from argo_mw import Argo, PluginError
from argo_mw.plugin import hookimpl
from argo_mw_persist import Signal, SinkUnavailable, SqliteSink, plugin, store_of
from argo_mw_persist.spool import SpooledSink
from argo_mw_persist.testing import SinkConformance


class Elsewhere(SqliteSink):
    """What a third party would write: here a file under another name."""


class Remote:
    """A sink that is away."""

    dialect = "sqlite"
    place = "far away"

    async def open(self, *, migrate: bool = True) -> None:
        raise SinkUnavailable("nobody answers")

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
        plugins={"persist": plugin, **plugins},
        installed=False,
    )


def elsewhere(url: str) -> Elsewhere:
    return Elsewhere(Path(urlsplit(url).path))


class TestElsewhere(SinkConformance):
    """The suite, as a third party uses it."""

    @pytest.fixture
    async def sink(self, tmp_path):
        sink = elsewhere(f"elsewhere://{tmp_path / 'there.db'}")
        await sink.open()
        yield sink
        await sink.aclose()


async def test_a_sink_that_another_plugin_registers_is_used(tmp_path):
    path = tmp_path / "there.db"
    async with application(f"elsewhere://{path}", third=Third(elsewhere=elsewhere)) as argo:
        receipt = await store_of(argo).record(Signal("AAPL", "BUY", 50.0, 1))
        assert await receipt == "sink"
        assert len(await argo.call("latest", symbol="AAPL")) == 1
    assert path.exists()


async def test_a_sink_of_another_plugin_is_bridged_while_it_is_away(state):
    third = Third(far=lambda url: Remote())
    async with application("far://there", third=third) as argo:
        store = store_of(argo)
        assert isinstance(store.sink, SpooledSink)
        receipt = await store.record(Signal("AAPL", "BUY", 50.0, 1))
        assert await receipt == "spool"


async def test_a_scheme_that_is_taken_is_refused():
    with pytest.raises(PluginError, match="'third' registers sinks for sqlite://, which is taken"):
        async with application("sqlite:///x.db", third=Third(sqlite=elsewhere)):
            pass


async def test_a_scheme_that_nobody_registers_is_named_with_those_that_are():
    with pytest.raises(PluginError, match="no sink for 'near'.*elsewhere://.*sqlite://"):
        async with application("near://x", third=Third(elsewhere=elsewhere)):
            pass
