"""The flags of a fleet in the shared store, and how an instance follows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from argo_mw.base.tasks import Tasks
from argo_mw.flags.changes import kill
from argo_mw.flags.fleet import Fleet
from argo_mw.flags.fleet_file import FleetFile
from argo_mw.flags.fleet_follower import INTERVAL, UNHEARD_INTERVAL, FleetFollower
from argo_mw.flags.fleet_store import CHANNEL, KEY, FleetStore, Stored
from argo_mw.store import Ability, Shared
from argo_mw.store.codec import Codecs
from argo_mw.store.memory import MemoryShared
from argo_mw.testing import FakeClock, RefusingStore, settle


class Counting(MemoryShared):
    """Counts what is asked, and answers when it may.

    Attributes:
        written: How many values were to be replaced.
        asked: How many values were asked for at the same time, at most.
        may_answer: Set as long as it answers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._asking = 0

    async def compare_and_set(self, *args: Any, **more: Any) -> bool:
        self.written += 1
        return await super().compare_and_set(*args, **more)

    async def get(self, key: str) -> bytes | None:
        self._asking += 1
        self.asked = max(self.asked, self._asking)
        await self.may_answer.wait()
        self._asking -= 1
        return await super().get(key)


async def test_a_change_is_in_the_store_when_it_is_made() -> None:
    shared = Counting()
    store = FleetStore(shared, Codecs(), FakeClock())
    made = await store.change(Fleet(), "race", kill)
    assert made == (await store.read()).fleet
    assert made.rules["race"].killed


async def test_what_the_store_holds_already_is_not_written_again() -> None:
    shared = Counting()
    store = FleetStore(shared, Codecs(), FakeClock())
    killed = await store.change(Fleet(), "race", kill)
    assert killed == await store.change(killed, "race", kill)
    assert 1 == shared.written


def follower(shared: Shared, clock: FakeClock, tasks: Tasks, file: Path) -> FleetFollower:
    async def nothing() -> None: ...

    store = FleetStore(shared, Codecs(), clock)
    return FleetFollower(
        store, FleetFile(file, shared_url), clock, tasks, take_up=nothing, report=print
    )


shared_url = "redis://one"


async def test_announcements_during_a_look_are_answered_by_one_more(tmp_path: Path) -> None:
    shared, clock, tasks = Counting(), FakeClock(), Tasks()
    following = follower(shared, clock, tasks, tmp_path)
    await following.start()
    shared.may_answer.clear()
    for _ in range(3):
        await shared.publish(CHANNEL, b"changed")
        await settle()
    assert ["argo-mw:fleet-flags"] == tasks.names
    shared.may_answer.set()
    await settle()
    assert 1 == shared.asked
    await following.aclose()
    await tasks.aclose()


async def test_a_follower_that_is_closed_during_a_look_looks_no_more(tmp_path: Path) -> None:
    shared, clock, tasks = Counting(), FakeClock(), Tasks()
    before = clock.pending
    following = follower(shared, clock, tasks, tmp_path)
    await following.start()
    shared.may_answer.clear()
    await shared.publish(CHANNEL, b"changed")
    await settle()
    await following.aclose()
    shared.may_answer.set()
    await settle()
    assert [] == tasks.names
    assert before == clock.pending
    await tasks.aclose()


async def test_a_store_without_channels_is_asked_for_one_every_ten_seconds(tmp_path: Path) -> None:
    """It may note each attempt; in between it is read."""
    clock, tasks = FakeClock(), Tasks()
    shared = RefusingStore(MemoryShared(clock=clock))
    shared.refuse([Ability.HEAR])
    following = follower(shared, clock, tasks, tmp_path)
    await following.start()
    asked, read = shared.asked[Ability.HEAR], shared.asked[Ability.READ]
    looks = int(2 * INTERVAL / UNHEARD_INTERVAL)
    for _ in range(looks):
        await clock.advance(UNHEARD_INTERVAL)
    assert 2 == shared.asked[Ability.HEAR] - asked
    assert looks == shared.asked[Ability.READ] - read
    await following.aclose()
    await tasks.aclose()


# -- How often the store is asked ------------------------------------------------------------------


@asynccontextmanager
async def followed(tmp_path: Path) -> AsyncIterator[tuple[RefusingStore, FakeClock]]:
    """Follow a store that counts what it is asked."""
    clock, tasks = FakeClock(), Tasks()
    shared = RefusingStore(MemoryShared(clock=clock))
    following = follower(shared, clock, tasks, tmp_path)
    await following.start()
    try:
        yield shared, clock
    finally:
        await following.aclose()
        await tasks.aclose()


async def test_what_was_announced_before_we_listened_is_read_once_more(tmp_path: Path) -> None:
    async with followed(tmp_path) as (shared, _):
        assert (2, 1) == (shared.asked[Ability.READ], shared.asked[Ability.HEAR])


async def test_a_store_that_announces_is_read_every_ten_seconds(tmp_path: Path) -> None:
    async with followed(tmp_path) as (shared, clock):
        asked = dict(shared.asked)
        for looks in (1, 2, 3):
            await clock.advance(INTERVAL - UNHEARD_INTERVAL)
            assert looks - 1 == shared.asked[Ability.READ] - asked[Ability.READ]
            await clock.advance(UNHEARD_INTERVAL)
            assert looks == shared.asked[Ability.READ] - asked[Ability.READ]
        assert asked[Ability.HEAR] == shared.asked[Ability.HEAR]


async def test_a_store_that_announces_no_more_is_read_twice_a_second(tmp_path: Path) -> None:
    async with followed(tmp_path) as (shared, clock):
        shared.refuse([Ability.HEAR])
        await settle()
        read = shared.asked[Ability.READ]
        for _ in range(4):
            await clock.advance(UNHEARD_INTERVAL)
        assert 4 == shared.asked[Ability.READ] - read
        shared.refuse()
        await settle()
        assert 5 == shared.asked[Ability.READ] - read
        await clock.advance(INTERVAL - UNHEARD_INTERVAL)
        assert 5 == shared.asked[Ability.READ] - read


# -- What the store has lost -----------------------------------------------------------------------


async def test_what_the_store_gets_back_is_announced_if_it_has_taken_it() -> None:
    shared = MemoryShared()
    store = FleetStore(shared, Codecs(), FakeClock())
    announced: list[bytes] = []
    subscription = await shared.subscribe(CHANNEL, announced.append, lambda: None)
    killed = Fleet().changed("race", kill, 1.0)
    await store.put_back(Stored(b"what it holds no more", Fleet()), killed)
    await settle()
    assert ([], None) == (announced, await shared.get(KEY))
    await store.put_back(Stored(None, Fleet()), killed)
    await settle()
    assert (1, killed) == (len(announced), (await store.read()).fleet)
    await subscription.aclose()
