"""What is read in one step where the store answers at once, and what is read beforehand together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability, StoreHealth
from argo_mw.store.memory import MemoryShared
from argo_mw.store.tag_mirror import HARD, SOFT, KnownVersions, TagMirror
from argo_mw.store.tag_reader import TagReader
from argo_mw.store.tag_writer import CHANNEL, TagWriter
from argo_mw.testing import FakeClock, settle

A, B = b"\x01aaaaaaa", b"\x02bbbbbbb"
LOWEST, HIGHEST = b"\0" * 8, b"\xff" * 8
"""No version that is offered for a new tag comes before the one, or after the other."""


class Waiting(MemoryShared):
    """A store whose answers have to be waited for, and the names that it is asked to create."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.asked: list[list[str]] = []

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        self.asked.append([key.removeprefix(HARD) for key in items if key.startswith(HARD)])
        await asyncio.sleep(0)
        return await super().create_many(items, ttl=ttl)


class Process:
    """A reader of tag versions, what its mirror keeps, and what its writer announces."""

    def __init__(self, shared: MemoryShared, clock: FakeClock) -> None:
        self.shared, self.clock = shared, clock
        self.messages: list[list[str]] = []
        self.mirror = TagMirror(1000, lambda: None)
        self.health = StoreHealth(
            shared,
            clock,
            checks=dict.fromkeys((Ability.HEAR, Ability.WRITE, Ability.ANNOUNCE), self._is_well),
            on_change=lambda _: None,
            retry=1.0,
        )
        self.writer = TagWriter(shared, clock, self.mirror, self.health, max_pending=10)
        self.reader = TagReader(shared, self.mirror, self.writer, self.health)

    async def _is_well(self) -> None:
        """Find nothing wrong, when what was refused is tried again."""

    async def listen(self) -> None:
        def hear(message: bytes) -> None:
            self.messages.append(msgspec.json.decode(message)[1:])

        await self.shared.subscribe(CHANNEL, hear, lambda: None)

    def versions(self, name: str) -> tuple[bytes, bytes] | None:
        """Return the two versions of *name* that are mirrored."""
        known = self.mirror.get(name)
        return None if known is None else (known.hard, known.soft)

    async def aclose(self) -> None:
        await self.health.aclose()
        await self.reader.aclose()
        await self.writer.aclose()
        await self.shared.aclose()


@pytest.fixture
async def at_once() -> AsyncIterator[Process]:
    clock = FakeClock()
    process = Process(MemoryShared(clock=clock), clock)
    await process.listen()
    yield process
    await process.aclose()


@pytest.fixture
async def waiting() -> AsyncIterator[tuple[Process, Waiting]]:
    clock = FakeClock()
    shared = Waiting(clock)
    process = Process(shared, clock)
    yield process, shared
    await process.aclose()


# -- in one step -----------------------------------------------------------------------------------


async def test_the_stores_versions_are_mirrored_in_one_step_each_in_its_place(
    at_once: Process,
) -> None:
    await at_once.shared.set_many({HARD + "a": A, SOFT + "a": B, HARD + "b": B, SOFT + "b": A})
    assert at_once.reader.read_at_once(["a", "b"])
    assert ((A, B), (B, A)) == (at_once.versions("a"), at_once.versions("b"))


@pytest.mark.parametrize("in_one_step", [True, False])
async def test_only_versions_that_a_read_has_created_are_announced(
    at_once: Process, in_one_step: bool
) -> None:
    """Nothing is new about those that the store had, whichever of two comes first as bytes."""
    await at_once.shared.set_many(
        {HARD + "a": HIGHEST, SOFT + "a": LOWEST, HARD + "half": LOWEST, HARD + "also": HIGHEST}
    )
    names = ["a", "half", "new", "also"]
    if in_one_step:
        assert at_once.reader.read_at_once(names)
    else:
        await at_once.reader.read(names)
    await at_once.clock.advance(1.0)
    await settle()
    assert [[SOFT + "half", HARD + "new", SOFT + "new", SOFT + "also"]] == at_once.messages


async def test_what_the_store_lacks_of_what_is_read_now_is_created_there_and_the_rest_is_left(
    at_once: Process,
) -> None:
    """A version that only this process has is no other process's, whose entries it cannot share."""
    await at_once.shared.set(HARD + "a", A)
    found = await at_once.reader.read_now(["a", "b"])
    for name, known in found.items():
        stored = await at_once.shared.get_many([HARD + name, SOFT + name])
        assert [known.hard, known.soft] == stored
        assert not known.made_up
    assert A == found["a"].hard
    await at_once.clock.advance(1.0)
    await settle()
    assert [[SOFT + "a", HARD + "b", SOFT + "b"]] == at_once.messages


async def test_a_step_that_creates_nothing_announces_nothing(at_once: Process) -> None:
    await at_once.shared.set_many({HARD + "a": A, SOFT + "a": B})
    assert at_once.reader.read_at_once(["a"])
    assert 0 == at_once.clock.pending
    await at_once.clock.advance(1.0)
    await settle()
    assert [] == at_once.messages


async def test_versions_that_a_step_has_created_are_kept_for_thirty_days(at_once: Process) -> None:
    assert at_once.reader.read_at_once(["a"])
    await at_once.clock.advance(30 * 86400 - 1)
    stored = await at_once.shared.get_many([HARD + "a", SOFT + "a"])
    assert at_once.versions("a") == tuple(stored)
    await at_once.clock.advance(1)
    assert [None, None] == await at_once.shared.get_many([HARD + "a", SOFT + "a"])


async def test_what_is_mirrored_is_not_read_again_beside_what_is_not(at_once: Process) -> None:
    """It would count as known only from now on, and be a miss for loads that have begun."""
    await at_once.shared.set_many({HARD + "a": A, SOFT + "a": B})
    assert at_once.reader.read_at_once(["a"])
    before = at_once.mirror.get("a")
    begun = at_once.mirror.ticks
    assert at_once.reader.read_at_once(["b", "a"])
    assert before == at_once.mirror.get("a")
    new = at_once.mirror.get("b")
    assert new is not None
    assert begun < new.since


async def test_while_something_is_refused_nothing_is_read_in_one_step(at_once: Process) -> None:
    """Versions that nobody hears the end of prove nothing."""
    at_once.health.failed(Ability.HEAR, SharedUnavailable("no channels"))
    assert not at_once.reader.read_at_once(["a"])
    assert None is at_once.mirror.get("a")
    assert None is await at_once.shared.get(HARD + "a")
    at_once.health.works(Ability.HEAR)
    assert at_once.reader.read_at_once(["a"])


async def test_while_a_replacement_waits_nothing_is_read_in_one_step(at_once: Process) -> None:
    """The version that the store has is the one that has been replaced."""
    await at_once.shared.set_many({HARD + "a": A, SOFT + "a": B})
    at_once.writer.add(HARD + "a", HIGHEST)
    assert not at_once.reader.read_at_once(["a"])
    assert None is at_once.mirror.get("a")
    assert {"a": (HIGHEST, B)} == {
        name: (known.hard, known.soft) for name, known in (await at_once.reader.read(["a"])).items()
    }


async def test_a_store_that_may_wait_is_not_read_in_one_step(
    waiting: tuple[Process, Waiting],
) -> None:
    process, shared = waiting
    assert not process.reader.read_at_once(["a"])
    assert ([], None) == (shared.asked, process.mirror.get("a"))


# -- beforehand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_a_time", "read"), [(1, [250, 250, 100]), (7, [252, 252, 96]), (300, [300, 300])]
)
async def test_what_is_read_beforehand_begins_anew_after_250_tags(
    waiting: tuple[Process, Waiting], at_a_time: int, read: list[int]
) -> None:
    process, shared = waiting
    names = [f"tag:{number}" for number in range(600)]
    for first in range(0, 600, at_a_time):
        process.reader.prefetch(names[first : first + at_a_time])
    await settle()
    assert read == [len(asked) for asked in shared.asked]
    assert names == [name for asked in shared.asked for name in asked]
    assert names == [name for name in names if process.mirror.get(name) is not None]


async def test_beforehand_only_what_is_neither_mirrored_nor_under_way_is_read(
    waiting: tuple[Process, Waiting],
) -> None:
    process, shared = waiting
    process.mirror.end_read(process.mirror.begin_read(["known"]), {"known": KnownVersions(A, B, 0)})
    process.reader.prefetch(["known"])
    await settle()
    assert [] == shared.asked
    process.reader.prefetch(["known", "a"])
    process.reader.prefetch(["a", "b", "known"])
    await settle()
    assert [["a", "b"]] == shared.asked
    assert (A, B) == process.versions("known")


async def test_what_is_asked_for_while_a_read_is_under_way_is_read_in_another(
    waiting: tuple[Process, Waiting],
) -> None:
    process, shared = waiting
    process.reader.prefetch(["a"])
    await asyncio.sleep(0)
    assert [["a"]] == shared.asked
    process.reader.prefetch(["a", "b"])
    found = await process.reader.read(["a", "b"])
    assert [["a"], ["b"]] == shared.asked
    assert {name: process.mirror.get(name) for name in ("a", "b")} == found


async def test_a_read_beforehand_that_fails_is_over_for_all_that_it_was_for(
    waiting: tuple[Process, Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, shared = waiting

    async def away(items: Mapping[str, bytes], *, ttl: float | None = None) -> Sequence[bytes]:
        raise SharedUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(shared, "create_many", away)
        process.reader.prefetch(["a"])
        process.reader.prefetch(["b"])
        await settle()
    process.mirror.forget_everything()
    process.health.works(Ability.WRITE)
    process.reader.prefetch(["a", "b"])
    await settle()
    assert [["a", "b"]] == shared.asked[-1:]
    assert None is not process.mirror.get("b")


async def test_reads_beforehand_end_with_their_reader_however_many_there_are(
    waiting: tuple[Process, Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, shared = waiting
    never = asyncio.Event()

    async def stall(items: Mapping[str, bytes], *, ttl: float | None = None) -> Sequence[bytes]:
        await never.wait()
        return []

    monkeypatch.setattr(shared, "create_many", stall)
    process.reader.prefetch(["a"])
    await settle()
    process.reader.prefetch(["b"])
    process.reader.prefetch(["c"])
    before = [task for task in asyncio.all_tasks() if "tag-versions-read" in task.get_name()]
    assert 2 == len(before)
    for _ in range(2):
        await process.reader.aclose()
    assert [True, True] == [task.done() for task in before]
