"""Counters in the shared store: what instances publish, and what readers find."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from click.testing import CliRunner

from argo_mw import Argo, BadParameter, SharedUnavailable
from argo_mw.cli.main import cli
from argo_mw.plugin import (
    Block,
    Call,
    Codecs,
    Counters,
    Counts,
    InstanceCounts,
    Outcome,
    Shared,
    SubjectCounts,
    Tasks,
    Watch,
    operation,
    total,
)
from argo_mw.store import open_shared
from argo_mw.testing import FakeClock, UnreachableStore, settle


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


def call(symbol: str = "AAPL") -> Call:
    return Call(bars, {"symbol": symbol}, f"bars:{symbol}", symbol)


MakeCounters = Callable[..., Counters]


@pytest.fixture
async def shared(clock: FakeClock) -> AsyncIterator[Shared]:
    store = await open_shared("memory://", clock=clock, drivers={})
    yield store
    await store.aclose()


@pytest.fixture
async def make(shared: Shared, clock: FakeClock) -> AsyncIterator[MakeCounters]:
    tasks = Tasks()

    def make_(store: Shared = shared, *, every: float = 5.0) -> Counters:
        return Counters(store, Codecs(), clock, tasks, every=every)

    yield make_
    await tasks.aclose()


def count(counters: Counters, *symbols: str, flags: frozenset[str] = frozenset({"race"})) -> None:
    tally = counters.tallies.tally("bars", (), flags)
    for symbol in symbols:
        tally.answered(call(symbol), Outcome(1), 0.5)


async def calls_of(counters: Counters, of: str = "fleet") -> dict[str, int]:
    return {one.instance: sum(c.calls for c in one.counts) for one in await counters.read(of)}


async def test_each_instance_sees_the_counts_of_all(make: MakeCounters) -> None:
    one, other = make(), make()
    count(one, "A")
    count(other, "A", "B")
    assert await one.publish()
    assert await other.publish()
    assert await calls_of(one) == {one.instance: 1, other.instance: 2}
    assert await calls_of(other, "machine") == {one.instance: 1, other.instance: 2}
    assert await calls_of(other, "instance") == {other.instance: 2}
    (sums,) = total(c for i in await one.read() for c in i.counts)
    assert (sums.calls, sums.latency.count) == (3, 3)


async def test_another_machine_is_in_the_fleet_alone(make: MakeCounters) -> None:
    one, other = make(), make()
    other.machine = "elsewhere"
    count(one, "A")
    count(other, "A")
    await other.publish()
    assert await calls_of(one, "machine") == {one.instance: 1}
    assert await calls_of(one) == {one.instance: 1, other.instance: 1}


async def test_what_is_published_is_what_was_counted(make: MakeCounters) -> None:
    one, other = make(), make()
    tally = one.tallies.tally("bars", (("race", "treatment"),), frozenset())
    tally.answered(call(), Outcome(1, as_of=0.0, via=("cache",)), 0.5)
    tally.failed(call(), ValueError(), 2.0)
    cell = tally.cell("cache")
    for _ in range(3):
        cell.left -= 1
    await one.publish()
    (read,) = await other.read()
    (counts,) = read.counts
    assert counts == tally.counts()
    assert (counts.hits, counts.at_hand) == ({"cache": 4}, 3)


async def test_an_instance_that_has_ended_expires(make: MakeCounters, clock: FakeClock) -> None:
    one, other = make(), make()
    count(one, "A")
    await one.publish()
    await clock.advance(29.0)
    assert await calls_of(other) == {one.instance: 1}
    await clock.advance(2.0)
    assert await calls_of(other) == {}
    assert await other.alive() == {}


async def test_an_instance_that_has_counted_nothing_is_not_seen(make: MakeCounters) -> None:
    one, other = make(), make()
    await one.publish()
    assert await calls_of(other) == {}
    assert await calls_of(one) == {}


async def test_counts_are_published_every_few_seconds_and_at_the_end(
    make: MakeCounters, clock: FakeClock
) -> None:
    one, other = make(), make()
    one.start()
    one.start()
    await settle()
    count(one, "A")
    await clock.advance(5.1)
    assert await calls_of(other) == {one.instance: 1}
    count(one, "A")
    await one.aclose()
    assert await calls_of(other) == {one.instance: 2}


async def test_nothing_is_published_where_that_is_switched_off(
    make: MakeCounters, clock: FakeClock
) -> None:
    one, other = make(every=0.0), make()
    one.start()
    count(one, "A")
    await clock.advance(60.0)
    await one.aclose()
    assert await calls_of(other) == {}


async def test_while_the_store_is_away_an_instance_counts_on(make: MakeCounters) -> None:
    alone = make(UnreachableStore())
    count(alone, "A")
    assert not await alone.publish()
    assert await calls_of(alone, "instance") == {alone.instance: 1}
    with pytest.raises(SharedUnavailable):
        await alone.read("fleet")
    with pytest.raises(SharedUnavailable):
        await alone.alive()


async def test_a_scope_that_does_not_exist_is_refused(make: MakeCounters) -> None:
    with pytest.raises(BadParameter, match="instance, machine or fleet"):
        await make().read("planet")


async def test_what_others_have_written_there_is_passed_over(
    make: MakeCounters, shared: Shared
) -> None:
    one, other = make(), make()
    count(one, "A")
    await one.publish()
    await shared.set(f"argo:counters:of:{one.instance}", b"nonsense")
    assert await calls_of(other) == {}
    await shared.set("argo:counters:instances", b"nonsense")
    assert await calls_of(other) == {}
    assert await one.publish()
    assert await calls_of(other) == {one.instance: 1}


async def test_a_watch_reaches_every_instance_and_blocks_are_read_by_all(
    make: MakeCounters, clock: FakeClock
) -> None:
    one, other, judge = make(), make(), make()
    await judge.watch(Watch("race", clock.time() + 3_600, seconds=10.0))
    for counters in (one, other):
        await counters.publish()
        assert set(counters.tallies.watches) == {"race"}
    number = int(clock.time() // 10.0)
    count(one, "A", "A")
    count(other, "A", "B")
    await clock.advance(10.0 - clock.time() % 10.0)
    for counters in (one, other):
        await counters.publish()
    blocks = {block.instance: block for block in await judge.blocks("race", [number])}
    assert {name: block.rows[""]["A"].calls for name, block in blocks.items()} == {
        one.instance: 2,
        other.instance: 1,
    }
    assert all(at >= (number + 1) * 10.0 for at in (await judge.alive()).values())


async def test_blocks_are_published_as_soon_as_they_end(
    make: MakeCounters, clock: FakeClock
) -> None:
    one, judge = make(every=60.0), make()
    await judge.watch(Watch("race", clock.time() + 3_600, seconds=2.0))
    one.start()
    await one.publish()
    number = int(clock.time() // 2.0)
    count(one, "A")
    await clock.advance(2.0)
    await settle()
    assert len(await judge.blocks("race", [number])) == 1


async def test_blocks_wait_for_a_store_that_was_away(make: MakeCounters, clock: FakeClock) -> None:
    one, judge = make(), make()
    await judge.watch(Watch("race", clock.time() + 3_600, seconds=10.0))
    await one.publish()
    number = int(clock.time() // 10.0)
    store, one._shared = one._shared, UnreachableStore()
    count(one, "A")
    await clock.advance(10.0)
    assert not await one.publish()
    count(one, "B")
    await clock.advance(10.0)
    assert not await one.publish()
    one._shared = store
    assert await one.publish()
    blocks = await judge.blocks("race", [number, number + 1])
    assert [list(block.rows[""]) for block in blocks] == [["A"], ["B"]]


async def test_the_last_block_is_published_at_the_end(make: MakeCounters, clock: FakeClock) -> None:
    one, judge = make(), make()
    await judge.watch(Watch("race", clock.time() + 3_600, seconds=10.0))
    one.start()
    await one.publish()
    count(one, "A")
    await one.aclose()
    (block,) = await judge.blocks("race", [int(clock.time() // 10.0)])
    assert block.rows[""]["A"].calls == 1


async def test_a_watch_is_replaced_and_taken_back(make: MakeCounters, clock: FakeClock) -> None:
    judge, one = make(), make()
    until = clock.time() + 3_600
    await judge.watch(Watch("race", until))
    await judge.watch(Watch("race", until, slow={"bars": (1.0, 2.0)}))
    await judge.watch(Watch("cache", until, by="tenant"))
    await one.publish()
    assert one.tallies.watches == {
        "race": Watch("race", until, slow={"bars": (1.0, 2.0)}),
        "cache": Watch("cache", until, by="tenant"),
    }
    await judge.unwatch("race")
    await one.publish()
    assert set(one.tallies.watches) == {"cache"}


async def test_flags_that_are_watched_at_once_are_bounded(
    make: MakeCounters, clock: FakeClock
) -> None:
    judge = make()
    for n in range(8):
        await judge.watch(Watch(f"f{n}", clock.time() + 3_600))
    with pytest.raises(BadParameter, match="at most 8"):
        await judge.watch(Watch("f8", clock.time() + 3_600))


async def test_watches_of_many_at_once_are_all_kept(make: MakeCounters, clock: FakeClock) -> None:
    until = clock.time() + 3_600
    await asyncio.gather(*(make().watch(Watch(f"f{n}", until)) for n in range(6)))
    assert set(await make().watches()) == {f"f{n}" for n in range(6)}


@pytest.mark.parametrize("data", [None, {}, {"until": 1}, {"instance": "a", "counts": [{}]}, []])
@pytest.mark.parametrize("kind", [Counts, InstanceCounts, Block])
def test_data_of_another_form_is_refused(kind: type, data: object) -> None:
    with pytest.raises(ValueError):
        kind.of_data(data)
    with pytest.raises(ValueError):
        Watch.of_data("race", data)


def test_a_block_that_is_read_back_is_equal() -> None:
    rows = {"treatment": {"AAPL": SubjectCounts(3, 2, 1, usd=0.5)}, "": {"X": SubjectCounts()}}
    block = Block("one", 7, 10.0, rows, 2)
    assert Block.of_data(block.as_data()) == block


def test_the_command_shows_what_running_programs_count(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = {"argo": {"state_dir": str(tmp_path)}}
    (tmp_path / "argo.toml").write_text(f'[argo]\nstate_dir = "{tmp_path}"\n')
    monkeypatch.delenv("ARGO_MW_STATE_DIR")

    async def run() -> list[str]:
        argo = Argo.open(config, installed=False)

        @argo.wrap(name="quote", subject="symbol")
        async def quote(symbol: str) -> float:
            return 187.2

        async with argo:
            await quote("AAPL")
            await argo._context.counters.publish()
            shown = CliRunner()
            results = []
            for more in (["--json"], ["--by", "instance"], ["--by", "arm"], ["--instance", "x"]):
                done = await asyncio.to_thread(shown.invoke, cli, ["counters", *more])
                results.append(done.stdout)
        return results

    as_json, by_instance, by_arm, none = asyncio.run(run())
    found = json.loads(as_json)
    assert [(one["operation"], one["calls"]) for one in found["counters"]] == [("quote", 1)]
    assert found["instances"][0]["instance"] in by_instance.replace("\n", "")
    assert "quote" in by_arm
    assert "quote" not in none
