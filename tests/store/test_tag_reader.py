"""What a process reads of tag versions: in one step, beforehand, and from half a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability
from argo_mw.store.memory import MemoryShared
from argo_mw.store.tag_mirror import HARD, SOFT, KnownVersions
from argo_mw.testing import FakeClock, RefusingStore, settle

from .tag_process import TagProcess

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


AtOnce = TagProcess[MemoryShared]
Later = TagProcess[Waiting]
Refusing = TagProcess[RefusingStore]


@pytest.fixture
async def at_once() -> AsyncIterator[AtOnce]:
    clock = FakeClock()
    process = TagProcess(MemoryShared(clock=clock), clock)
    await process.listen()
    yield process
    await process.aclose()


@pytest.fixture
async def waiting() -> AsyncIterator[Later]:
    clock = FakeClock()
    process = TagProcess(Waiting(clock), clock)
    yield process
    await process.aclose()


@pytest.fixture
async def refusing() -> AsyncIterator[Refusing]:
    clock = FakeClock()
    process = TagProcess(RefusingStore(MemoryShared(clock=clock)), clock)
    yield process
    await process.aclose()


# -- in one step -----------------------------------------------------------------------------------


async def test_the_stores_versions_are_mirrored_in_one_step_each_in_its_place(
    at_once: AtOnce,
) -> None:
    await at_once.shared.set_many({HARD + "a": A, SOFT + "a": B, HARD + "b": B, SOFT + "b": A})
    assert at_once.reader.read_at_once(["a", "b"])
    assert ((A, B), (B, A)) == (at_once.versions("a"), at_once.versions("b"))


@pytest.mark.parametrize("in_one_step", [True, False])
async def test_only_versions_that_a_read_has_created_are_announced(
    at_once: AtOnce, in_one_step: bool
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
    at_once: AtOnce,
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


async def test_a_step_that_creates_nothing_announces_nothing(at_once: AtOnce) -> None:
    await at_once.shared.set_many({HARD + "a": A, SOFT + "a": B})
    assert at_once.reader.read_at_once(["a"])
    assert 0 == at_once.clock.pending
    await at_once.clock.advance(1.0)
    await settle()
    assert [] == at_once.messages


async def test_versions_that_a_step_has_created_are_kept_for_thirty_days(at_once: AtOnce) -> None:
    assert at_once.reader.read_at_once(["a"])
    await at_once.clock.advance(30 * 86400 - 1)
    stored = await at_once.shared.get_many([HARD + "a", SOFT + "a"])
    assert at_once.versions("a") == tuple(stored)
    await at_once.clock.advance(1)
    assert [None, None] == await at_once.shared.get_many([HARD + "a", SOFT + "a"])


async def test_what_is_mirrored_is_not_read_again_beside_what_is_not(at_once: AtOnce) -> None:
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


async def test_while_something_is_refused_nothing_is_read_in_one_step(at_once: AtOnce) -> None:
    """Versions that nobody hears the end of prove nothing."""
    at_once.health.failed(Ability.HEAR, SharedUnavailable("no channels"))
    assert not at_once.reader.read_at_once(["a"])
    assert None is at_once.mirror.get("a")
    assert None is await at_once.shared.get(HARD + "a")
    at_once.health.works(Ability.HEAR)
    assert at_once.reader.read_at_once(["a"])


async def test_while_a_replacement_waits_nothing_is_read_in_one_step(at_once: AtOnce) -> None:
    """The version that the store has is the one that has been replaced."""
    await at_once.shared.set_many({HARD + "a": A, SOFT + "a": B})
    at_once.writer.add(HARD + "a", HIGHEST)
    assert not at_once.reader.read_at_once(["a"])
    assert None is at_once.mirror.get("a")
    assert {"a": (HIGHEST, B)} == {
        name: (known.hard, known.soft) for name, known in (await at_once.reader.read(["a"])).items()
    }


async def test_a_store_that_may_wait_is_not_read_in_one_step(
    waiting: Later,
) -> None:
    assert not waiting.reader.read_at_once(["a"])
    assert ([], None) == (waiting.shared.asked, waiting.mirror.get("a"))


# -- beforehand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_a_time", "read"), [(1, [250, 250, 100]), (7, [252, 252, 96]), (300, [300, 300])]
)
async def test_what_is_read_beforehand_begins_anew_after_250_tags(
    waiting: Later, at_a_time: int, read: list[int]
) -> None:
    names = [f"tag:{number}" for number in range(600)]
    for first in range(0, 600, at_a_time):
        waiting.reader.prefetch(names[first : first + at_a_time])
    await settle()
    assert read == [len(asked) for asked in waiting.shared.asked]
    assert names == [name for asked in waiting.shared.asked for name in asked]
    assert names == [name for name in names if waiting.mirror.get(name) is not None]


async def test_beforehand_only_what_is_neither_mirrored_nor_under_way_is_read(
    waiting: Later,
) -> None:
    waiting.mirror.end_read(waiting.mirror.begin_read(["known"]), {"known": KnownVersions(A, B, 0)})
    waiting.reader.prefetch(["known"])
    await settle()
    assert [] == waiting.shared.asked
    waiting.reader.prefetch(["known", "a"])
    waiting.reader.prefetch(["a", "b", "known"])
    await settle()
    assert [["a", "b"]] == waiting.shared.asked
    assert (A, B) == waiting.versions("known")


async def test_what_is_asked_for_while_a_read_is_under_way_is_read_in_another(
    waiting: Later,
) -> None:
    waiting.reader.prefetch(["a"])
    await asyncio.sleep(0)
    assert [["a"]] == waiting.shared.asked
    waiting.reader.prefetch(["a", "b"])
    found = await waiting.reader.read(["a", "b"])
    assert [["a"], ["b"]] == waiting.shared.asked
    assert {name: waiting.mirror.get(name) for name in ("a", "b")} == found


async def test_a_read_beforehand_that_fails_is_over_for_all_that_it_was_for(
    waiting: Later, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def away(items: Mapping[str, bytes], *, ttl: float | None = None) -> Sequence[bytes]:
        raise SharedUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(waiting.shared, "create_many", away)
        waiting.reader.prefetch(["a"])
        waiting.reader.prefetch(["b"])
        await settle()
    waiting.mirror.forget_everything()
    waiting.health.works(Ability.WRITE)
    waiting.reader.prefetch(["a", "b"])
    await settle()
    assert [["a", "b"]] == waiting.shared.asked[-1:]
    assert None is not waiting.mirror.get("b")


async def test_reads_beforehand_end_with_their_reader_however_many_there_are(
    waiting: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()

    async def stall(items: Mapping[str, bytes], *, ttl: float | None = None) -> Sequence[bytes]:
        await never.wait()
        return []

    monkeypatch.setattr(waiting.shared, "create_many", stall)
    waiting.reader.prefetch(["a"])
    await settle()
    waiting.reader.prefetch(["b"])
    waiting.reader.prefetch(["c"])
    before = [task for task in asyncio.all_tasks() if "tag-versions-read" in task.get_name()]
    assert 2 == len(before)
    for _ in range(2):
        await waiting.reader.aclose()
    assert [True, True] == [task.done() for task in before]


# -- from a store that refuses something ------------------------------------------------------------


async def test_versions_that_are_read_again_unchanged_are_as_old_as_before(
    refusing: Refusing,
) -> None:
    first = (await refusing.reader.read(["a"]))["a"]
    refusing.mirror.tick()
    again = (await refusing.reader.read_now(["a"]))["a"]
    assert first == again
    await refusing.shared.set(SOFT + "a", B)
    changed = (await refusing.reader.read_now(["a"]))["a"]
    assert (first.hard, B) == (changed.hard, changed.soft)
    assert first.since < changed.since


async def test_a_tag_can_be_read_beforehand_again_once_it_is_forgotten(refusing: Refusing) -> None:
    for reads in (1, 2):
        refusing.reader.prefetch(["a"])
        await settle()
        refusing.reader.prefetch(["a"])
        await settle()
        assert reads == refusing.shared.asked[Ability.WRITE]
        refusing.mirror.forget("a")


async def test_nothing_is_read_beforehand_from_a_store_that_refuses_something(
    refusing: Refusing,
) -> None:
    refusing.shared.refuse([Ability.ANNOUNCE])
    refusing.health.failed(Ability.ANNOUNCE, SharedUnavailable("no messages"))
    refusing.reader.prefetch(["a"])
    await settle()
    assert 0 == len(refusing.mirror)


@pytest.mark.parametrize(
    ("refused", "must_read"),
    [((), False), ((Ability.HEAR,), True), ((Ability.READ,), False), (tuple(Ability), False)],
)
async def test_the_mirror_proves_nothing_where_a_store_is_read_and_sends_no_messages(
    refusing: Refusing, refused: tuple[Ability, ...], must_read: bool
) -> None:
    refusing.health.refused = dict.fromkeys(refused, "why")
    assert must_read == refusing.reader.must_read


async def test_a_version_that_the_store_lacks_and_refuses_is_made_up_and_kept(
    refusing: Refusing,
) -> None:
    refusing.shared.refuse([Ability.WRITE])
    made = (await refusing.reader.read(["a"]))["a"]
    assert made.made_up
    again = (await refusing.reader.read_now(["a"]))["a"]
    assert (made.hard, made.soft) == (again.hard, again.soft)


async def test_without_the_store_versions_are_made_up_and_what_is_mirrored_stays(
    refusing: Refusing,
) -> None:
    tokens = refusing.mirror.begin_read(["known"])
    refusing.mirror.end_read(tokens, {"known": KnownVersions(A, B, 0)})
    refusing.shared.refuse(tuple(Ability))
    found = await refusing.reader.read(["known", "new"])
    assert KnownVersions(A, B, 0) == found["known"]
    assert found["new"].made_up
    assert 2 == len({found["new"].hard, found["new"].soft})
