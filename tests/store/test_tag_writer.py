"""Replaced versions on their way to the store and to other processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec
import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability
from argo_mw.store.memory import MemoryShared
from argo_mw.store.tag_mirror import HARD, SOFT, KnownVersions
from argo_mw.store.tag_snapshot import EVERYTHING
from argo_mw.store.tag_writer import TAG_TTL
from argo_mw.testing import FakeClock, RefusingStore, settle

from .tag_process import TagProcess

A, B = b"\x01aaaaaaa", b"\x02bbbbbbb"


Refusing = TagProcess[RefusingStore]


def refusing(max_pending: int = 10) -> Refusing:
    clock = FakeClock()
    shared = RefusingStore(MemoryShared(clock=clock))
    return TagProcess(shared, clock, max_pending=max_pending)


@pytest.fixture
async def process() -> AsyncIterator[Refusing]:
    process = refusing()
    await process.listen()
    yield process
    await process.aclose()


@pytest.mark.parametrize(
    ("keys", "messages"), [(0, [0]), (1, [1]), (500, [500]), (501, [500, 1]), (1000, [500, 500])]
)
async def test_a_message_announces_up_to_500_keys(
    process: Refusing, keys: int, messages: list[int]
) -> None:
    names = [f"{HARD}{n}" for n in range(keys)]
    await process.writer.announce(names)
    await settle()
    assert messages == [len(message) for message in process.messages]
    assert names == [name for message in process.messages for name in message]


async def test_an_own_message_announces_nothing_and_a_strange_one_is_refused(
    process: Refusing,
) -> None:
    keys_in = process.writer.keys_in
    assert [] == keys_in(msgspec.json.encode([process.writer._origin, HARD + "a"]))
    assert [HARD + "a", SOFT + "b"] == keys_in(b'["other", "tag:h:a", "tag:s:b"]')
    for message in (b'["other", "tag:h:a", "tag:x:b"]', b"[]", b"{", b'["other", 5]'):
        with pytest.raises(ValueError, match="does not announce tag versions"):
            keys_in(message)


def test_what_waits_is_bounded_announced_or_not() -> None:
    writer = refusing(max_pending=2).writer
    assert writer.add(HARD + "a", A)
    writer.unannounced[HARD + "b"] = B
    assert writer.add(HARD + "a", B)
    assert not writer.add(HARD + "c", A)
    assert [HARD + EVERYTHING] == list(writer.pending)
    assert {} == writer.unannounced


async def test_versions_are_stored_for_thirty_days_and_announced(process: Refusing) -> None:
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
    process: Refusing,
) -> None:
    process.shared.refuse([Ability.WRITE])
    process.writer.add(HARD + "a", A)
    for asked in (1, 1):
        assert not await process.writer.flush()
        assert asked == process.shared.asked[Ability.WRITE]
    assert not await process.writer.flush(again=True)
    assert 2 == process.shared.asked[Ability.WRITE]


async def test_a_store_that_refused_what_waits_is_asked_once_more_at_the_end(
    process: Refusing,
) -> None:
    process.shared.refuse([Ability.WRITE])
    process.writer.add(HARD + "a", A)
    assert not await process.writer.flush()
    process.shared.refuse()
    assert process.health.down
    await process.writer.aclose()
    assert {} == process.writer.pending
    assert None is not await process.shared.get(HARD + "a")


async def test_what_cannot_be_announced_waits_and_is_stored_all_the_same(process: Refusing) -> None:
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
    process: Refusing, seconds: float, repeated: bool
) -> None:
    process.writer.announced(HARD + "a")
    await process.clock.advance(seconds)
    process.writer.repeat_recent()
    assert repeated == (HARD + "a" in process.writer.pending)
    process.writer.pending.clear()
    process.writer.repeat_recent()
    assert {} == process.writer.pending


def test_what_was_replaced_recently_is_bounded_and_the_oldest_is_forgotten() -> None:
    writer = refusing(max_pending=2).writer
    for key in ("a", "b", "a", "c"):
        writer.announced(HARD + key)
    writer.repeat_recent()
    assert [HARD + "a", HARD + "c"] == list(writer.pending)


def test_a_placeholder_gives_way_when_others_have_replaced_its_version() -> None:
    writer = refusing().writer
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
    process: Refusing, monkeypatch: pytest.MonkeyPatch, second: bytes
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
    process = refusing(max_pending=1)
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
    process: Refusing, monkeypatch: pytest.MonkeyPatch, again: bytes
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


async def test_created_versions_are_announced_together_a_moment_later(process: Refusing) -> None:
    process.writer.announce_soon([HARD + "a"])
    await process.clock.advance(0.049)
    process.writer.announce_soon([HARD + "b"])
    assert [] == process.messages
    await process.clock.advance(0.001)
    await settle()
    assert [[HARD + "a", HARD + "b"]] == process.messages
    await process.clock.advance(1)
    assert 1 == len(process.messages)


async def test_created_versions_that_cannot_be_announced_are_let_go(process: Refusing) -> None:
    process.shared.refuse([Ability.ANNOUNCE])
    process.health.failed(Ability.ANNOUNCE, SharedUnavailable("no messages"))
    asked = process.shared.asked[Ability.ANNOUNCE]
    process.writer.announce_soon([HARD + "a"])
    await process.clock.advance(0.05)
    assert asked == process.shared.asked[Ability.ANNOUNCE]
    process.shared.refuse()
