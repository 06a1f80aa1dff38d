"""A store that is away is tried in the background, and each outage is one trouble."""

from __future__ import annotations

import pytest

from argo_mw import Argo, ConfigError
from argo_mw.plugin import Trouble, hookimpl, observe
from argo_mw.store import Availability
from argo_mw.store.memory import MemoryShared
from argo_mw.testing import FakeClock, SlowStore, settle


class Store:
    """What is probed."""

    def __init__(self):
        self.works = False
        self.probes = 0

    async def probe(self):
        self.probes += 1
        return self.works


def watched(clock, store):
    one, heard = Availability(clock, probe=store.probe, retry=0.25), []
    one.watch(lambda why: heard.append(f"lost: {why}"), lambda why: heard.append(f"found: {why}"))
    return one, heard


async def test_a_store_is_away_until_a_probe_has_used_it():
    clock, store = FakeClock(), Store()
    one, _ = watched(clock, store)
    one.lost("locked")
    await clock.advance(1.0)
    assert one.away
    assert store.probes == 5
    store.works = True
    await clock.advance(0.25)
    assert not one.away
    await clock.advance(10.0)
    assert store.probes == 6, "what can be used is not probed"


async def test_an_outage_is_reported_once_whatever_its_reasons():
    clock, store = FakeClock(), Store()
    one, heard = watched(clock, store)
    one.lost("locked")
    one.lost("the disk is full")
    assert one.why == "the disk is full"
    store.works = True
    await clock.advance(1.0)
    one.lost("locked")
    await settle()
    assert ["lost: locked", "found: locked", "lost: locked", "found: locked"] == heard


async def test_an_outage_that_began_before_it_is_watched_is_reported():
    clock, store = FakeClock(), Store()
    one, heard = Availability(clock, probe=store.probe, retry=0.25), []
    one.lost("unreachable")
    one.watch(heard.append, heard.append)
    assert ["unreachable"] == heard
    await one.aclose()
    assert 0 == clock.pending


async def test_nothing_is_tried_after_the_end():
    clock, store = FakeClock(), Store()
    one, _ = watched(clock, store)
    await one.aclose()
    one.lost("closed")
    await clock.advance(1.0)
    assert 0 == store.probes


class SlowDriver:
    """A plugin whose driver opens a store that can be away."""

    def __init__(self, store):
        self.store = store

    @hookimpl
    def register_shared_drivers(self):
        return {"slow": self._open}

    async def _open(self, url, clock):
        return self.store


class Drives:
    """A plugin that brings drivers."""

    def __init__(self, *schemes):
        self.schemes = schemes

    @hookimpl
    def register_shared_drivers(self):
        return dict.fromkeys(self.schemes, self._open)

    async def _open(self, url, clock):
        return MemoryShared(clock=clock)


@pytest.mark.parametrize(
    ("plugins", "owner"),
    [
        ({"aaa": Drives("sqlite")}, "argo-mw itself"),
        ({"aaa": Drives("memory")}, "argo-mw itself"),
        ({"aaa": Drives("redis"), "redis": Drives("redis", "rediss")}, "plugin 'aaa'"),
    ],
)
async def test_no_plugin_takes_the_scheme_of_another_s_driver(
    tmp_path, monkeypatch, plugins, owner
):
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=f"which is that of {owner}"):
        async with Argo.open({"argo": {"shared": "memory://"}}, plugins=plugins, installed=False):
            pass


async def test_each_outage_of_the_shared_store_is_one_trouble(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    clock = FakeClock()
    store, seen = SlowStore(clock=clock), []
    argo = Argo.open(
        {"argo": {"shared": "slow://"}}, plugins={"slow": SlowDriver(store)}, clock=clock
    )

    def see(event):
        if isinstance(event, Trouble) and event.where == "shared store":
            seen.append(event)

    observe(argo, see)

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol):
        return 1

    async with argo:
        for outage in (1, 2):
            store.away = True
            for number in range(10):
                await quote(f"S{outage}{number}")
            assert outage == len(seen)
            assert "the store is away -- until it can be used again" in seen[-1].what
            store.away = False
            await clock.advance(1.0)
