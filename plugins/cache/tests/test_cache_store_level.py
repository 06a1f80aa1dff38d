"""The shared level by itself: how large, how long and how often, and what it makes of a refusal."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from attrs import define

from argo_mw import Argo, Outcome, SharedUnavailable
from argo_mw.plugin import Call, Context, context_of, operation
from argo_mw.store import Freshness, TagSnapshot
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_cache import stored_answer
from argo_mw_cache.shared_level import EncodedAnswer, SharedLevel
from argo_mw_cache.stored_answer import AnswerCodec, StoredAnswer, StoreProblem, store_key

_names = itertools.count()


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@define
class Level:
    """A shared level, and what it needs for one answer that lives for five seconds."""

    clock: FakeClock
    context: Context
    call: Call
    tag_snapshot: TagSnapshot
    hit: Outcome

    def level(self, *, max_bytes: int = 1_000_000, timeout: float = 0.25) -> SharedLevel:
        return SharedLevel(
            self.context, grace_of=lambda _: 2.0, timeout=timeout, max_bytes=max_bytes
        )

    def encoded(self, level: SharedLevel) -> EncodedAnswer | StoreProblem:
        return level.encode(self.call, self.hit, self.tag_snapshot, 0.5)

    async def put(self, level: SharedLevel) -> StoreProblem | None:
        answer = self.encoded(level)
        assert isinstance(answer, EncodedAnswer)
        return await level.put(self.call, answer, self.tag_snapshot)

    async def get(self, level: SharedLevel) -> StoredAnswer | StoreProblem | None:
        """Ask and read, as a look does."""
        key = store_key(self.call)
        read = level.read(await level.ask(self.call, key), key)
        return read if read is None or isinstance(read, StoredAnswer | StoreProblem) else await read

    async def is_there(self) -> bool:
        return await self.context.shared.get(store_key(self.call)) is not None


@pytest.fixture
async def one() -> AsyncIterator[Level]:
    clock = FakeClock(start=0.1)
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", ["bars"])])
    settings = {"argo": {"shared": f"memory://level-{next(_names)}", "strict": True}}
    argo = Argo.open(settings, clock=clock, plugins={"asked": asked}, installed=False)
    async with argo:
        context = context_of(argo)
        call = context.make_call("bars", "", {"symbol": "A"})
        hit = Outcome("bars", expires_at=clock.time() + 5.0)
        yield Level(clock, context, call, await context.tag_versions.load(call.tags), hit)


# -- bounds ----------------------------------------------------------------------------------------


async def test_an_answer_of_the_largest_size_is_stored_and_none_that_is_larger(one: Level) -> None:
    answer = one.encoded(one.level())
    assert isinstance(answer, EncodedAnswer)
    size = len(answer.data)
    assert isinstance(one.encoded(one.level(max_bytes=size)), EncodedAnswer)
    problem = StoreProblem("local", f"{size} bytes: max_value_bytes is less")
    assert problem == one.encoded(one.level(max_bytes=size - 1))


@pytest.mark.parametrize(("seconds", "there"), [(4.9, True), (6.9, True), (7.0, False)])
async def test_an_answer_stays_in_the_store_to_the_end_of_its_grace(
    one: Level, seconds: float, there: bool
) -> None:
    assert None is await one.put(one.level())
    one.clock.stall(seconds)
    assert there == await one.is_there()


async def test_of_many_questions_the_store_is_asked_for_a_lease_again(
    one: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of answers that were read is bounded."""
    monkeypatch.setattr(stored_answer, "_MAX_HEADS", 2)
    codec = AnswerCodec(one.context)
    for key in "abc":
        data = codec.write(one.hit, one.tag_snapshot, 0.5, key)
        assert isinstance(codec.read_at_once(data, key), StoredAnswer)
    assert [False, False, True] == [codec.has_read(key) for key in "abc"]


# -- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 200_000])
async def test_what_is_read_is_what_was_stored_however_large(one: Level, size: int) -> None:
    one.hit = one.hit.evolve(value="x" * size, upstream="a", as_of=1.0, lacks=frozenset({"news"}))
    level = one.level()
    assert None is await one.put(level)
    found = await one.get(level)
    assert isinstance(found, StoredAnswer)
    assert (one.hit.value, "a", 1.0) == (
        found.outcome.value,
        found.outcome.upstream,
        found.outcome.as_of,
    )
    assert (frozenset({"news"}), 0.5) == (found.outcome.lacks, found.load_time)


@pytest.mark.parametrize(
    ("change", "found"), [("", Freshness.FRESH), ("expire", Freshness.STALE), ("invalidate", None)]
)
@pytest.mark.parametrize("known", [True, False])
async def test_what_became_of_its_tags_is_known_or_asked_of_the_store(
    one: Level, monkeypatch: pytest.MonkeyPatch, change: str, found: Freshness | None, known: bool
) -> None:
    level, versions = one.level(), one.context.tag_versions
    await one.put(level)
    if change:
        await getattr(one.context, change)(["subject:A"])
    if not known:
        says = found or Freshness.MISS

        async def check(_: TagSnapshot) -> Freshness:
            return says

        monkeypatch.setattr(versions, "peek", lambda _: Freshness.UNKNOWN)
        monkeypatch.setattr(versions, "check", check)
    got = await one.get(level)
    if found is None:
        assert StoreProblem("invalidated") == got
    else:
        assert isinstance(got, StoredAnswer)
        assert found is got.freshness


async def test_versions_that_the_store_is_too_slow_to_say_make_no_answer(
    one: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(_: TagSnapshot) -> Freshness:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    level, versions = one.level(timeout=0.25), one.context.tag_versions
    await one.put(level)
    monkeypatch.setattr(versions, "peek", lambda _: Freshness.UNKNOWN)
    monkeypatch.setattr(versions, "check", check)
    looking = asyncio.create_task(one.get(level))
    await one.clock.advance(0.24)
    assert not looking.done()
    await one.clock.advance(0.01)
    assert StoreProblem("unreachable", "the versions of its tags took too long") == await looking


# -- refusals --------------------------------------------------------------------------------------


class Refuses:
    """Refuses answers, and notes where it was asked to put one to find out why."""

    def __init__(self) -> None:
        self.tries: list[str] = []

    async def __call__(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        if key.startswith("argo:trial:"):
            self.tries.append(key)
        if key.startswith(("argo:trial:", "argo:cache:")):
            msg = "too large"
            raise SharedUnavailable(msg)


async def test_it_is_found_out_once_in_a_minute_what_a_refused_answer_means(
    one: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses, level = Refuses(), one.level()
    monkeypatch.setattr(one.context.shared, "set", refuses)
    tried = []
    for seconds in (0.0, 1.0, 58.9, 0.1):
        await one.clock.advance(seconds)
        one.hit = one.hit.evolve(expires_at=one.clock.time() + 5.0)
        assert StoreProblem("unreachable", "too large") == await one.put(level)
        await settle()
        tried.append(len(refuses.tries))
    assert [1, 1, 1, 2] == tried
    assert {f"argo:trial:{store_key(one.call)}"} == set(refuses.tries)


async def test_nothing_is_found_out_of_a_store_that_is_known_to_be_away(
    one: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses, level = Refuses(), one.level()
    monkeypatch.setattr(one.context.shared, "set", refuses)
    monkeypatch.setattr(type(one.context.tag_versions.health), "down", True)
    await one.put(level)
    await settle()
    assert [] == refuses.tries


async def test_an_answer_that_was_refused_is_stored_once_the_store_takes_one(
    one: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    level, put = one.level(), one.context.shared.set
    monkeypatch.setattr(one.context.shared, "set", Refuses())
    await one.put(level)
    monkeypatch.setattr(one.context.shared, "set", put)
    other = one.context.make_call("bars", "", {"symbol": "B"})
    assert not await one.is_there()
    answer = level.encode(other, one.hit, one.tag_snapshot, 0.0)
    assert isinstance(answer, EncodedAnswer)
    assert None is await level.put(other, answer, one.tag_snapshot)
    await settle()
    assert await one.is_there()


async def test_a_store_that_is_slow_to_take_an_answer_is_said_to_be(
    one: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(one.context.shared, "set", never)
    putting = asyncio.create_task(one.put(one.level(timeout=0.5)))
    await one.clock.advance(0.49)
    assert not putting.done()
    await one.clock.advance(0.01)
    assert StoreProblem("unreachable", "it took longer than 0.5 s") == await putting
