"""Replaced versions on their way to the store and to other processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial

import msgspec
import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability, StoreHealth
from argo_mw.store.memory import MemoryShared
from argo_mw.store.tag_mirror import HARD, SOFT, KnownVersions, TagMirror
from argo_mw.store.tag_reader import TagReader
from argo_mw.store.tag_snapshot import EVERYTHING
from argo_mw.store.tag_writer import CHANNEL, TAG_TTL, TagWriter
from argo_mw.testing import FakeClock, RefusingStore, settle

A, B = b"\x01aaaaaaa", b"\x02bbbbbbb"


class Process:
    """A writer and a reader of tag versions, and the messages that others receive."""

    def __init__(self, max_pending: int = 10) -> None:
        self.clock = FakeClock()
        self.shared = RefusingStore(MemoryShared(clock=self.clock))
        self.messages: list[list[str]] = []
        self.mirror = TagMirror(10, lambda: None)
        self.health = StoreHealth(
            self.shared,
            self.clock,
            checks={
                one: partial(self._try, one)
                for one in (Ability.HEAR, Ability.WRITE, Ability.ANNOUNCE)
            },
            on_change=lambda _: None,
            retry=1.0,
        )
        self.health.on_trouble = lambda _: None
        self.writer = TagWriter(
            self.shared, self.clock, self.mirror, self.health, max_pending=max_pending
        )
        self.reader = TagReader(self.shared, self.mirror, self.writer, self.health)

    async def _try(self, ability: Ability) -> None:
        if ability in self.shared.refused:
            raise SharedUnavailable(ability.value)

    async def listen(self) -> None:
        def hear(message: bytes) -> None:
            self.messages.append(msgspec.json.decode(message)[1:])

        await self.shared.subscribe(CHANNEL, hear, lambda: None)

    async def aclose(self) -> None:
        await self.health.aclose()
        await self.reader.aclose()
        await self.writer.aclose()
        await self.shared.aclose()


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = Process()
    await process.listen()
    yield process
    await process.aclose()


@pytest.mark.parametrize(
    ("keys", "messages"), [(0, [0]), (1, [1]), (500, [500]), (501, [500, 1]), (1000, [500, 500])]
)
async def test_a_message_announces_up_to_500_keys(
    process: Process, keys: int, messages: list[int]
) -> None:
    names = [f"{HARD}{n}" for n in range(keys)]
    await process.writer.announce(names)
    await settle()
    assert messages == [len(message) for message in process.messages]
    assert names == [name for message in process.messages for name in message]


async def test_an_own_message_announces_nothing_and_a_strange_one_is_refused(
    process: Process,
) -> None:
    keys_in = process.writer.keys_in
    assert [] == keys_in(msgspec.json.encode([process.writer._origin, HARD + "a"]))
    assert [HARD + "a", SOFT + "b"] == keys_in(b'["other", "tag:h:a", "tag:s:b"]')
    for message in (b'["other", "tag:h:a", "tag:x:b"]', b"[]", b"{", b'["other", 5]'):
        with pytest.raises(ValueError, match="does not announce tag versions"):
            keys_in(message)


def test_what_waits_is_bounded_announced_or_not() -> None:
    writer = Process(max_pending=2).writer
    assert writer.add(HARD + "a", A)
    writer.unannounced[HARD + "b"] = B
    assert writer.add(HARD + "a", B)
    assert not writer.add(HARD + "c", A)
    assert [HARD + EVERYTHING] == list(writer.pending)
    assert {} == writer.unannounced


async def test_versions_are_stored_for_thirty_days_and_announced(process: Process) -> None:
    process.writer.add(HARD + "a", A)
    assert await process.writer.flush()
    await settle()
    assert [[HARD + "a"]] == process.messages
    assert ({}, {}) == (process.writer.pending, process.writer.unannounced)
    await process.clock.advance(30 * 86400 - 1)
    assert None is not await process.shared.get(HARD + "a")
    await process.clock.advance(1)
    assert None is await process.shared.get(HARD + "a")
    assert 2_592_000 == TAG_TTL


async def test_a_store_that_refuses_what_waits_is_asked_by_nobody_but_who_tries_again(
    process: Process,
) -> None:
    process.shared.refuse([Ability.WRITE])
    process.writer.add(HARD + "a", A)
    for asked in (1, 1):
        assert not await process.writer.flush()
        assert asked == process.shared.asked[Ability.WRITE]
    assert not await process.writer.flush(again=True)
    assert 2 == process.shared.asked[Ability.WRITE]


async def test_a_store_that_refused_what_waits_is_asked_once_more_at_the_end(
    process: Process,
) -> None:
    process.shared.refuse([Ability.WRITE])
    process.writer.add(HARD + "a", A)
    assert not await process.writer.flush()
    process.shared.refuse()
    assert process.health.down
    await process.writer.aclose()
    assert {} == process.writer.pending
    assert None is not await process.shared.get(HARD + "a")


async def test_what_cannot_be_announced_waits_and_is_stored_all_the_same(process: Process) -> None:
    process.shared.refuse([Ability.ANNOUNCE])
    process.writer.add(HARD + "a", A)
    assert not await process.writer.flush()
    assert ([HARD + "a"], {}) == (list(process.writer.unannounced), process.writer.pending)
    asked = process.shared.asked[Ability.ANNOUNCE]
    assert not await process.writer.flush()
    assert asked == process.shared.asked[Ability.ANNOUNCE]
    process.writer.add(HARD + "b", B)
    assert not await process.writer.flush()
    assert {HARD + "a", HARD + "b"} == set(process.writer.unannounced)


@pytest.mark.parametrize(("seconds", "repeated"), [(29.0, True), (30.0, True), (31.0, False)])
async def test_what_was_replaced_half_a_minute_before_a_gap_is_replaced_again(
    process: Process, seconds: float, repeated: bool
) -> None:
    process.writer.announced(HARD + "a")
    await process.clock.advance(seconds)
    process.writer.repeat_recent()
    assert repeated == (HARD + "a" in process.writer.pending)
    process.writer.pending.clear()
    process.writer.repeat_recent()
    assert {} == process.writer.pending


def test_what_was_replaced_recently_is_bounded_and_the_oldest_is_forgotten() -> None:
    writer = Process(max_pending=2).writer
    for key in ("a", "b", "a", "c"):
        writer.announced(HARD + key)
    writer.repeat_recent()
    assert [HARD + "a", HARD + "c"] == list(writer.pending)


def test_a_placeholder_gives_way_when_others_have_replaced_its_version() -> None:
    writer = Process().writer
    writer.add(HARD + "a", A)
    assert {HARD + "a": A} == writer.placeholders({HARD + "x": B, HARD + "a": B})
    assert {HARD + "a": A} == writer.placeholders({HARD + "a": B})
    for other in (A, b"\x03"):
        before = writer.pending[HARD + "a"]
        [now] = writer.placeholders({HARD + "a": other}).values()
        assert before != now
        assert now == writer.pending[HARD + "a"]


@pytest.mark.parametrize("second", [b"\x01" * 8, b"\xfe" * 8])
async def test_what_is_replaced_again_while_it_is_stored_is_stored_again(
    process: Process, monkeypatch: pytest.MonkeyPatch, second: bytes
) -> None:
    """The second replacement must not be taken for the first, which alone the store has."""
    first, stored = b"\x80" * 8, []
    tokens = process.mirror.begin_read(["a"])
    process.mirror.end_read(tokens, {"a": KnownVersions(A, B, 0)})
    set_many = process.shared.set_many

    async def replace_again(items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        stored.append(items[HARD + "a"])
        if len(stored) == 1:
            replace(second)
        await set_many(items, ttl=ttl)

    def replace(placeholder: bytes) -> None:
        process.mirror.replace(HARD + "a", placeholder)
        process.writer.add(HARD + "a", placeholder)

    monkeypatch.setattr(process.shared, "set_many", replace_again)
    replace(first)
    assert await process.writer.flush()
    assert 2 == len(stored)
    assert stored[1] == await process.shared.get(HARD + "a")
    # The mirror lost its placeholder when the first was stored: it reads the tag again.
    assert (await process.reader.read(["a"]))["a"].hard == stored[1]


async def test_what_gives_way_to_everything_while_it_is_stored_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(max_pending=1)
    set_many = process.shared.set_many

    async def overflow(items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        if HARD + "a" in items:
            process.writer.add(HARD + "b", B)
        await set_many(items, ttl=ttl)

    monkeypatch.setattr(process.shared, "set_many", overflow)
    process.writer.add(HARD + "a", A)
    assert await process.writer.flush()
    assert ({}, {}) == (process.writer.pending, process.writer.unannounced)
    stored = [HARD + name for name in ("a", "b", EVERYTHING)]
    found = [version is not None for version in await process.shared.get_many(stored)]
    assert [True, False, True] == found
    await process.aclose()


@pytest.mark.parametrize("again", [b"\x01" * 8, b"\xfe" * 8])
async def test_what_is_stored_again_while_it_is_announced_is_announced_again(
    process: Process, monkeypatch: pytest.MonkeyPatch, again: bytes
) -> None:
    """A process may have read the version before with the first message."""
    publish = process.shared.publish

    async def store_again(channel: str, message: bytes) -> None:
        process.writer.unannounced[HARD + "a"] = again
        await publish(channel, message)

    process.writer.unannounced = {HARD + "a": b"\x80" * 8, HARD + "b": B}
    with monkeypatch.context() as patched:
        patched.setattr(process.shared, "publish", store_again)
        await process.writer.announce_waiting()
    assert {HARD + "a": again} == process.writer.unannounced
    await process.writer.announce_waiting()
    await settle()
    assert {} == process.writer.unannounced
    assert [[HARD + "a", HARD + "b"], [HARD + "a"]] == process.messages


async def test_created_versions_are_announced_together_a_moment_later(process: Process) -> None:
    process.writer.announce_soon([HARD + "a"])
    await process.clock.advance(0.049)
    process.writer.announce_soon([HARD + "b"])
    assert [] == process.messages
    await process.clock.advance(0.001)
    await settle()
    assert [[HARD + "a", HARD + "b"]] == process.messages
    await process.clock.advance(1)
    assert 1 == len(process.messages)


async def test_created_versions_that_cannot_be_announced_are_let_go(process: Process) -> None:
    process.shared.refuse([Ability.ANNOUNCE])
    process.health.failed(Ability.ANNOUNCE, SharedUnavailable("no messages"))
    asked = process.shared.asked[Ability.ANNOUNCE]
    process.writer.announce_soon([HARD + "a"])
    await process.clock.advance(0.05)
    assert asked == process.shared.asked[Ability.ANNOUNCE]
    process.shared.refuse()


# -- reading ---------------------------------------------------------------------------------------


async def test_versions_that_are_read_again_unchanged_are_as_old_as_before(
    process: Process,
) -> None:
    first = (await process.reader.read(["a"]))["a"]
    process.mirror.tick()
    again = (await process.reader.read_now(["a"]))["a"]
    assert first == again
    await process.shared.set(SOFT + "a", B)
    changed = (await process.reader.read_now(["a"]))["a"]
    assert (first.hard, B) == (changed.hard, changed.soft)
    assert first.since < changed.since


async def test_a_tag_can_be_read_beforehand_again_once_it_is_forgotten(process: Process) -> None:
    for reads in (1, 2):
        process.reader.prefetch(["a"])
        await settle()
        process.reader.prefetch(["a"])
        await settle()
        assert reads == process.shared.asked[Ability.WRITE]
        process.mirror.forget("a")


async def test_nothing_is_read_beforehand_from_a_store_that_refuses_something(
    process: Process,
) -> None:
    process.shared.refuse([Ability.ANNOUNCE])
    process.health.failed(Ability.ANNOUNCE, SharedUnavailable("no messages"))
    process.reader.prefetch(["a"])
    await settle()
    assert 0 == len(process.mirror)


@pytest.mark.parametrize(
    ("refused", "must_read"),
    [((), False), ((Ability.HEAR,), True), ((Ability.READ,), False), (tuple(Ability), False)],
)
def test_the_mirror_proves_nothing_where_a_store_is_read_and_sends_no_messages(
    refused: tuple[Ability, ...], must_read: bool
) -> None:
    process = Process()
    process.health.refused = dict.fromkeys(refused, "why")
    assert must_read == process.reader.must_read


async def test_a_version_that_the_store_lacks_and_refuses_is_made_up_and_kept(
    process: Process,
) -> None:
    process.shared.refuse([Ability.WRITE])
    made = (await process.reader.read(["a"]))["a"]
    assert made.made_up
    again = (await process.reader.read_now(["a"]))["a"]
    assert (made.hard, made.soft) == (again.hard, again.soft)


async def test_without_the_store_versions_are_made_up_and_what_is_mirrored_stays(
    process: Process,
) -> None:
    tokens = process.mirror.begin_read(["known"])
    process.mirror.end_read(tokens, {"known": KnownVersions(A, B, 0)})
    process.shared.refuse(tuple(Ability))
    found = await process.reader.read(["known", "new"])
    assert KnownVersions(A, B, 0) == found["known"]
    assert found["new"].made_up
    assert 2 == len({found["new"].hard, found["new"].soft})
