"""Counters: what each chain counts, without an event, by operation and arm."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping

import pytest

from argo_mw import DeadlineExceeded, NotFound, UpstreamError
from argo_mw.counters.accumulators import MAX_SUBJECTS
from argo_mw.plugin import (
    AUDIT,
    Action,
    Argo,
    Call,
    Charge,
    Cost,
    Counts,
    InstanceCounts,
    Layer,
    ModelCounts,
    Next,
    Outcome,
    Stream,
    SubjectCounts,
    Upstream,
    UpstreamCounts,
    Watch,
    context_of,
    hookimpl,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from tests.core.conftest import bars, signal

HALF = {"flags": {"memory": "50%"}}
SPENT = Cost(0.25, 100, 20, 1.0, tokens_cached=60)


class Memory:
    """A cache as simple as can be."""

    def __init__(self) -> None:
        self.known: dict[str, Outcome] = {}

    def find(self, call: Call) -> Outcome | None:
        return None if call.refresh else self.known.get(call.key)

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        outcome = await call_next(call)
        kept = outcome.evolve(attempts=(), cost=Cost()).shaped_by("memory")
        self.known[call.key] = kept
        return outcome


def memory() -> Layer:
    return Layer("memory", Memory(), slot="cache")


def counted(argo: Argo) -> list[Counts]:
    return context_of(argo).counters.tallies.counts()


def by_arm(argo: Argo, flag: str) -> dict[str, Counts]:
    return {dict(one.arms).get(flag, ""): one for one in counted(argo)}


def rows(argo: Argo, flag: str) -> Mapping[str, Mapping[str, SubjectCounts]]:
    blocks = context_of(argo).counters.tallies.blocks(flag)
    return blocks[-1].rows if blocks else {}


async def test_a_load_and_a_hit_are_counted_by_what_answered_them(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        for _ in range(3):
            await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert (one.operation, one.calls, one.loads, one.hits, one.at_hand) == (
        "bars", 3, 1, {"memory": 2}, 2,
    )  # fmt: skip
    assert one.requests == 1.0
    assert one.latency.count == 1
    assert one.hit_rate == pytest.approx(2 / 3)


async def test_what_calls_wait_is_counted_and_hits_took_no_time(
    open_argo, clock: FakeClock
) -> None:
    slow = Scripted("a", ["bars"])
    slow.gate.clear()
    async with open_argo(slow, layers=(memory(),)) as argo:
        first = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await slow.arrived.wait()
        await clock.advance(2.0)
        slow.gate.set()
        await first
        await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert one.percentile(0.0) == 0.0
    assert one.percentile(1.0) == pytest.approx(2.0, rel=0.0111)


async def test_costs_are_counted_without_a_table_of_costs(open_argo) -> None:
    spent = Scripted("a", ["bars"], Outcome(1, cost=SPENT))
    async with open_argo(spent) as argo:
        await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert (one.usd, one.tokens_in, one.tokens_out, one.tokens_cached) == (0.25, 100, 20, 60)
    assert one.unpriced == 0


async def test_a_price_that_is_unknown_or_impossible_is_no_sum(open_argo) -> None:
    script = (Outcome(1, cost=Cost(None)), Outcome(1, cost=Cost(float("nan"))))
    async with open_argo(Scripted("a", ["bars"], *script)) as argo:
        for _ in range(2):
            await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert (one.usd, one.unpriced) == (0.0, 2)


async def test_failures_are_counted_by_kind_with_each_request_that_they_took(open_argo) -> None:
    retried = UpstreamError("busy", upstream="a", action=Action.RETRY, retry_after=0.0)
    script = (retried, retried, NotFound("none", upstream="a"), 1)
    async with open_argo(Scripted("a", ["bars"], *script)) as argo:
        for _ in range(2):
            with pytest.raises((UpstreamError, NotFound)):
                await argo.call("bars", symbol="AAPL")
        await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert one.errors == {"UpstreamError": 1, "NotFound": 1}
    assert one.failures == 1
    assert (one.calls, one.requests) == (3, 4.0)


async def test_a_caller_who_leaves_is_no_failure(open_argo) -> None:
    held = Scripted("a", ["bars"])
    held.gate.clear()
    async with open_argo(held) as argo:
        leaving = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await held.arrived.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        (one,) = counted(argo)
    assert one.errors == {"CancelledError": 1}
    assert one.failures == 0


async def test_calls_that_share_a_request_share_it_in_the_counts(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"], max_batch=10)) as argo:
        asking = asyncio.create_task(argo.map("bars", ["AAPL", "MSFT", "GOOG", "META"]))
        await settle()
        await argo._clock.advance(0.01)
        await asking
        (one,) = counted(argo)
    assert one.calls == 4
    assert one.requests == pytest.approx(1.0)
    assert one.requests_to == {"a": pytest.approx(1.0)}
    assert one.asked == {"a": 4}


async def test_a_further_page_is_a_request(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        await argo.call("bars", symbol="AAPL")
        context = context_of(argo)
        await context.charge_extra(context.make_call("bars", "", {"symbol": "AAPL"}).bind("a"))
        (one,) = counted(argo)
    assert one.requests == 2.0


async def test_what_is_computed_takes_no_request(open_argo) -> None:
    voice = Scripted("voice", ["signal"])
    async with open_argo(voice, operations=(signal,)) as argo:
        await argo.call("signal", symbol="AAPL")
        (one,) = counted(argo)
    assert (one.loads, one.requests) == (1, 0.0)


async def test_what_a_stream_costs_is_counted_at_its_end(open_argo) -> None:
    async def chunks() -> AsyncIterator[object]:
        yield "a"

    asked = Scripted("a", ["bars"], lambda _: Outcome(stream))
    async with open_argo(asked) as argo:
        stream: Stream[object] = Stream(chunks(), context_of(argo).tasks)
        got = await argo.call("bars", symbol="AAPL")
        stream.cost = SPENT
        assert [chunk async for chunk in got.read()] == ["a"]
        await settle()
        (one,) = counted(argo)
    assert (one.usd, one.requests) == (0.25, 1.0)


async def test_a_refresh_is_no_call_and_its_request_counts(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        await argo.call("bars", symbol="AAPL")
        context = context_of(argo)
        call = context.make_call("bars", "default", {"symbol": "AAPL"})
        await context.refresh(call).wait()
        (one,) = counted(argo)
    assert (one.calls, one.refreshes, one.requests) == (1, 1, 2.0)


async def test_requests_of_an_audit_pass_all_layers_and_are_counted_apart(open_argo) -> None:
    asked = Scripted("a", ["bars"], 1, 2, 3)
    other = Scripted("b", ["bars"], "other")
    async with open_argo(asked, other, layers=(memory(),)) as argo:
        context = context_of(argo)
        call = context.make_call("bars", "default", {"symbol": "AAPL"})
        assert await argo.call("bars", symbol="AAPL") == 1
        assert (await context.ask_afresh(call)).value == 2
        assert (await context.ask_afresh(call, "b")).value == "other"
        assert await argo.call("bars", symbol="AAPL") == 1
        (one,) = counted(argo)
    assert asked.asked[-1].extensions == {AUDIT: True}
    assert (one.audits, one.requests, one.calls) == (2.0, 1.0, 2)


async def test_an_audit_ends_with_the_operation_s_timeout(open_argo, clock: FakeClock) -> None:
    held = Scripted("a", ["bars"])
    held.gate.clear()
    async with open_argo(held) as argo:
        context = context_of(argo)
        call = context.make_call("bars", "default", {"symbol": "AAPL"})
        asking = asyncio.create_task(context.ask_afresh(call))
        await held.arrived.wait()
        await clock.advance(call.operation.timeout + 1.0)
        with pytest.raises((DeadlineExceeded, UpstreamError)):
            await asking


async def test_calls_are_counted_by_the_arms_of_ramped_flags(open_argo) -> None:
    config = {"flags": {"memory": "20%"}}
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),), config=config) as argo:
        for n in range(200):
            for _ in range(2):
                await argo.call("bars", symbol=f"S{n}")
        found = by_arm(argo, "memory")
    assert set(found) == {"treatment", "control", ""}
    assert sum(one.calls for one in found.values()) == 400
    assert found["treatment"].at_hand == found["treatment"].calls / 2
    assert found["control"].at_hand == found[""].at_hand == 0


async def test_the_flag_of_an_upstream_has_arms_too(open_argo) -> None:
    config = {"flags": {"upstream.a": "30%"}}
    asked = [Scripted("a", ["bars"]), Scripted("b", ["bars"])]
    async with open_argo(*asked, config=config) as argo:
        for n in range(100):
            await argo.call("bars", symbol=f"S{n}")
        found = by_arm(argo, "upstream.a")
    assert found["treatment"].calls == len(asked[0].asked)
    assert found["control"].calls + found[""].calls == len(asked[1].asked)


class WithPart(FakePlugin):
    """A plugin with a flag for a part of it."""

    @hookimpl
    def register_flags(self) -> list[str]:
        return ["parted.half"]


async def test_the_flag_of_a_part_has_arms_too(open_argo) -> None:
    config = {"flags": {"parted.half": "30%"}}
    plugins = {"parted": WithPart()}
    async with open_argo(Scripted("a", ["bars"]), config=config, plugins=plugins) as argo:
        for n in range(100):
            await argo.call("bars", symbol=f"S{n}")
        found = by_arm(argo, "parted.half")
    assert set(found) == {"treatment", "control", ""}


async def test_counts_outlive_a_rebuilt_chain(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        await argo.call("bars", symbol="AAPL")
        await argo.reload({"argo": {"shared": "memory://"}, "flags": {"memory": "off"}})
        await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert one.calls == 2


async def test_every_wait_is_counted_however_many_there_are(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        for _ in range(1_300):
            await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert one.latency.count == one.loads == 1_300


async def test_ages_of_a_sample_stand_for_all_hits(open_argo, clock: FakeClock) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        await argo.call("bars", symbol="AAPL")
        await clock.advance(10.0)
        for _ in range(4_000):
            await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert one.age.quantile(0.5) == pytest.approx(10.0, rel=0.0111)
    assert one.age.count == pytest.approx(4_000, rel=0.3)


def watching(flag: str, clock: FakeClock, **more: object) -> dict[str, Watch]:
    return {flag: Watch(flag, clock.time() + 3_600, seconds=10.0, **more)}


@pytest.mark.parametrize(
    ("config", "watched", "weight"),
    [({}, "", 64), ({"flags": {"other": "50%"}}, "other", 16), (HALF, "memory", 4)],
    ids=["nothing is watched", "another flag is watched", "its own flag is watched"],
)
async def test_a_sample_of_what_is_served_is_shown(
    open_argo, clock: FakeClock, config: Mapping[str, object], watched: str, weight: int
) -> None:
    other = Layer("other", Memory(), serves=lambda operation: operation.name == "signal")
    layers = (memory(), other)
    async with open_argo(Scripted("a", ["bars"]), layers=layers, config=config) as argo:
        if watched:
            context_of(argo).counters.tallies.watch(watching(watched, clock))
        seen: list[tuple[str, object, str]] = []
        weights: list[int] = []

        def listen(call: Call, outcome: Outcome, layer: str, stands_for: int) -> None:
            seen.append((call.subject, outcome.value, layer))
            weights.append(stands_for)

        end = context_of(argo).counters.listen(listen)
        for _ in range(8_000):
            await argo.call("bars", symbol="AAPL")
        shown = len(seen)
        end()
        for _ in range(400):
            await argo.call("bars", symbol="AAPL")
    assert {weight} == set(weights)
    assert shown == pytest.approx(8_000 / weight, rel=0.3)
    assert seen[-1] == ("AAPL", "AAPL", "memory")
    assert len(seen) == shown


async def test_subjects_of_a_watched_flag_are_counted_in_blocks_of_time(
    open_argo, clock: FakeClock
) -> None:
    config = {"flags": {"memory": "50%"}}
    spent = Scripted("a", ["bars"], Outcome(1, cost=SPENT))
    async with open_argo(spent, layers=(memory(),), config=config) as argo:
        tallies = context_of(argo).counters.tallies
        tallies.watch(watching("memory", clock))
        for symbol in ("S0", "S1", "S2", "S3", "S4", "S5"):
            for _ in range(3):
                await argo.call("bars", symbol=symbol)
        assert rows(argo, "memory") == {}
        await clock.advance(10.0)
        found = rows(argo, "memory")
    assert set(found) == {"treatment", "control"}
    treated = next(iter(found["treatment"].values()))
    assert treated == SubjectCounts(calls=3, hits=2, requests=1.0, usd=0.25)
    control = next(iter(found["control"].values()))
    assert control == SubjectCounts(calls=3, requests=3.0, usd=0.75)


async def test_slow_calls_and_failures_are_counted_by_subject(open_argo, clock: FakeClock) -> None:
    slow = Scripted(
        "a", ["bars"], 1, UpstreamError("broken", upstream="a"), NotFound("none", upstream="a")
    )
    async with open_argo(slow, layers=(memory(),)) as argo:
        tallies = context_of(argo).counters.tallies
        tallies.watch(watching("memory", clock, slow={"bars": (1.0, 2.0)}))
        for symbol, seconds in (("A", 1.5), ("B", 2.5), ("C", 0.5)):
            slow.arrived.clear()
            slow.gate.clear()
            asking = asyncio.create_task(argo.call("bars", symbol=symbol))
            await slow.arrived.wait()
            await clock.advance(seconds)
            slow.gate.set()
            await asyncio.gather(asking, return_exceptions=True)
        await clock.advance(10.0)
        found = rows(argo, "memory")[""]
    assert found["A"] == SubjectCounts(calls=1, slow=1, seconds=1.5, requests=1.0)
    assert found["B"] == SubjectCounts(
        calls=1, errors=1, slow=1, slowest=1, seconds=2.5, requests=1.0
    )
    assert found["C"] == SubjectCounts(calls=1, seconds=0.5, requests=1.0)


async def test_a_caller_who_leaves_a_call_that_is_slow_by_then_does_not_hide_it(
    open_argo, clock: FakeClock
) -> None:
    held = Scripted("a", ["bars"])
    held.gate.clear()
    async with open_argo(held, layers=(memory(),)) as argo:
        tallies = context_of(argo).counters.tallies
        tallies.watch(watching("memory", clock, slow={"bars": (1.0, 2.0)}))
        for symbol, seconds in (("A", 0.5), ("B", 1.5), ("C", 2.5)):
            held.arrived.clear()
            leaving = asyncio.create_task(argo.call("bars", symbol=symbol))
            await held.arrived.wait()
            await clock.advance(seconds)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        await clock.advance(10.0)
        found = rows(argo, "memory")[""]
        (one,) = counted(argo)
    calls = {symbol: (s.calls, s.slow, s.slowest, s.errors) for symbol, s in found.items()}
    assert {name: seen for name, seen in calls.items() if seen[0]} == {
        "B": (1, 1, 0, 0), "C": (1, 1, 1, 0),
    }  # fmt: skip
    assert one.errors == {"CancelledError": 3}


async def test_only_operations_that_the_flag_concerns_are_watched(
    open_argo, clock: FakeClock
) -> None:
    other = Layer("memory", Memory(), slot="cache", serves=lambda o: o.name == "signal")
    async with open_argo(Scripted("a", ["bars"]), layers=(other,)) as argo:
        context_of(argo).counters.tallies.watch(watching("memory", clock))
        await argo.call("bars", symbol="AAPL")
        await clock.advance(10.0)
        assert rows(argo, "memory") == {}


async def test_subjects_are_bounded_and_what_is_dropped_is_counted(
    open_argo, clock: FakeClock
) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        tallies = context_of(argo).counters.tallies
        tallies.watch(watching("memory", clock))
        for n in range(MAX_SUBJECTS + 5):
            await argo.call("bars", symbol=f"S{n}")
        await argo.call("bars", symbol="X" * 10_000)
        await clock.advance(10.0)
        (block,) = tallies.blocks("memory")
    assert len(block.rows[""]) == MAX_SUBJECTS
    assert block.dropped >= 6
    assert max(map(len, block.rows[""])) < 300


async def test_a_watch_goes_on_over_a_rebuilt_chain_and_ends_in_time(
    open_argo, clock: FakeClock
) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        tallies = context_of(argo).counters.tallies
        tallies.watch(watching("memory", clock))
        await argo.call("bars", symbol="A")
        await argo.reload({"argo": {"shared": "memory://"}, "flags": {"memory": "100%"}})
        await argo.call("bars", symbol="A")
        await clock.advance(10.0)
        assert {arm: found["A"].calls for arm, found in rows(argo, "memory").items()} == {
            "": 1,
            "treatment": 1,
        }
        tallies.watch({"memory": Watch("memory", clock.time() - 1)})
        assert tallies.watches == {}


async def test_checked_answers_are_counted_for_their_subject(open_argo, clock: FakeClock) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        counters = context_of(argo).counters
        counters.tallies.watch(watching("memory", clock))
        call = context_of(argo).make_call("bars", "default", {"symbol": "A"})
        counters.audited(call, wrong=True, distance=0.25)
        counters.audited(call, wrong=False)
        await clock.advance(10.0)
        assert rows(argo, "memory")[""]["A"] == SubjectCounts(audits=2, wrong=1, distance=0.25)


@operation(name="nameless")
def nameless() -> object:
    """A question about nothing."""


async def test_a_call_without_a_subject_is_counted_by_its_key(open_argo, clock: FakeClock) -> None:
    asked = Scripted("a", ["nameless"])
    async with open_argo(asked, operations=(nameless,), layers=(memory(),)) as argo:
        context_of(argo).counters.tallies.watch(watching("memory", clock))
        await argo.call("nameless")
        await clock.advance(10.0)
        (subject,) = rows(argo, "memory")[""]
    assert subject.startswith("nameless:")


def test_the_operations_of_these_tests_exist() -> None:
    assert (bars.name, signal.name) == ("bars", "signal")


# Upstreams, models, layers


@operation(kind="llm", subject="")
def complete(prompt: str) -> object:
    """What a model says."""


class Talks:
    """An upstream of a language model; each answer takes half a second."""

    def __init__(self, clock: FakeClock, *answers: object) -> None:
        self.upstream = Upstream("llama", ["complete"], self.fetch, retries=0)
        self._clock = clock
        self._answers = list(answers)

    async def fetch(self, call: Call) -> Outcome:
        self._clock.stall(0.5)
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Outcome)
        return answer


def asks(talks: Talks, clock: FakeClock) -> Argo:
    return Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        clock=clock,
        plugins={"asked": FakePlugin(operations=(complete,), upstreams=(talks.upstream,))},
        installed=False,
    )


THOUGHT = Cost(
    0.25, 100, 20, 1.0, model="llama-4", tokens_cached=60, tokens_written=30, tokens_reasoned=15
)


async def test_attempts_are_counted_by_how_they_end(open_argo) -> None:
    down = UpstreamError("down", upstream="a", action=Action.SWITCH)
    a, b = (
        Scripted("a", ["bars"], down, down, 1, NotFound("no", upstream="a")),
        Scripted("b", ["bars"]),
    )
    async with open_argo(a, b) as argo:
        for _ in range(3):
            await argo.call("bars", symbol="AAPL")
        with pytest.raises(NotFound):
            await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert {"failed": 2, "ok": 1, "absent": 1} == one.upstreams["a"].ended
    assert {"ok": 2} == one.upstreams["b"].ended
    assert 2 == one.upstreams["b"].latency.count
    assert (2, 0) == (one.upstreams["a"].failures, one.upstreams["b"].failures)


async def test_what_upstreams_cost_is_counted_for_each(open_argo) -> None:
    unknown = Outcome(1, cost=Cost(None))
    async with open_argo(Scripted("a", ["bars"], Outcome(1, cost=SPENT), unknown)) as argo:
        for _ in range(2):
            await argo.call("bars", symbol="AAPL")
        (one,) = counted(argo)
    assert (0.25, 1) == (one.upstreams["a"].usd, one.upstreams["a"].unpriced)


async def test_computed_operations_have_no_attempts_at_upstreams(open_argo) -> None:
    computes = Scripted("computes", ["signal"])
    async with open_argo(computes, operations=(bars, signal)) as argo:
        await argo.call("signal", symbol="AAPL")
        (one,) = counted(argo)
    assert (0.0, {}, 1) == (one.requests, one.upstreams, one.loads)


async def test_models_are_counted_with_their_tokens_and_durations(clock: FakeClock) -> None:
    failed = UpstreamError("down", upstream="llama")
    talks = Talks(clock, Outcome("yes", cost=THOUGHT), Outcome("no", cost=THOUGHT), failed)
    async with asks(talks, clock) as argo:
        for _ in range(2):
            await argo.call("complete", prompt="?")
        with pytest.raises(UpstreamError):
            await argo.call("complete", prompt="?")
        (one,) = counted(argo)
    models = one.upstreams["llama"].models
    named = models["llama-4"]
    tokens = (named.tokens_in, named.tokens_cached, named.tokens_written)
    assert (200, 120, 60) == tokens
    assert (40, 30, 0.5) == (named.tokens_out, named.tokens_reasoned, named.usd)
    assert [2] == [durations.count for durations in named.durations.values()]
    assert named.durations[""].quantile(0.5) == pytest.approx(0.5, rel=0.0111)
    assert {"UpstreamError": 1} == {k: one.count for k, one in models[""].durations.items()}


async def test_a_stream_is_timed_to_its_first_piece_and_to_its_end(clock: FakeClock) -> None:
    pieces: asyncio.Queue[str | None] = asyncio.Queue()

    async def source() -> AsyncIterator[str]:
        while (piece := await pieces.get()) is not None:
            yield piece

    async def fetch(_: Call) -> Outcome:
        stream = Stream(source(), context_of(argo).tasks)
        stream.on_done(lambda done: setattr(done, "cost", THOUGHT))
        return Outcome(stream, cost=Cost(model="llama-4"))

    talks = Talks(clock)
    talks.upstream = Upstream("llama", ["complete"], fetch, retries=0)
    argo = asks(talks, clock)
    async with argo:
        stream = await argo.call("complete", prompt="?")
        reader = asyncio.create_task(anext(aiter(stream.read())))
        await settle()
        clock.stall(2.0)
        pieces.put_nowait("first")
        await reader
        clock.stall(3.0)
        pieces.put_nowait(None)
        await settle()
        (one,) = counted(argo)
    (named,) = one.upstreams["llama"].models.values()
    assert named.first_chunks.quantile(0.5) == pytest.approx(2.0, rel=0.0111)
    assert named.durations[""].quantile(0.5) == pytest.approx(5.0, rel=0.0111)
    assert (100, 20) == (named.tokens_in, named.tokens_out)


async def test_a_program_of_a_thousand_models_is_counted_with_64(clock: FakeClock) -> None:
    answers = [Outcome(n, cost=Cost(0.0, 1, 1, model=f"model-{n}")) for n in range(1_000)]
    async with asks(Talks(clock, *answers), clock) as argo:
        for _ in range(1_000):
            await argo.call("complete", prompt="?")
        (one,) = counted(argo)
    models = one.upstreams["llama"].models
    assert 65 == len(models)
    assert 1_000 == sum(model.tokens_in for model in models.values())


def test_what_models_did_is_told_apart_by_task_added_and_sent() -> None:
    embedded = ModelCounts(tokens_in=7)
    counts = UpstreamCounts(
        models={"m": ModelCounts(tokens_in=1)}, tasks={"embeddings": {"m": embedded}}
    )
    twice = UpstreamCounts()
    twice.add(counts)
    twice.add(UpstreamCounts.of_data(counts.as_data()))
    since = twice.since(counts)
    found = [(task, models["m"].tokens_in) for task, models in since.by_task()]
    assert [("", 1), ("embeddings", 7)] == found


async def test_what_a_layer_saved_is_counted_for_it(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        context = context_of(argo)
        for usd in (0.5, 0.5, None, math.nan, -1.0):
            cost = Cost(usd)
            charge = Charge(0.0, "", "bars", "AAPL", "a", "saved", cost, layer="cache")
            context.record_charge(charge)
        (one,) = counted(argo)
    assert {"cache": 1.0} == one.saved_usd


async def test_what_layers_do_is_counted_without_an_observer(open_argo) -> None:
    async def broken(call: Call, call_next: Next) -> Outcome:
        raise ValueError("a bug")

    layer = Layer("mine", broken)
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,)) as argo:
        context = context_of(argo)
        assert not context.events
        await argo.call("bars", symbol="AAPL")
        for action in ("miss", "miss"):
            context.announce("cache", action)
        for _ in range(2):
            context.report("clock", "it is late")
        here = context.counters.here()
    assert {"mine": {"bypassed": 1}, "cache": {"miss": 2}} == here.acts
    assert {"layer mine": 1, "clock": 2} == here.troubles
    assert 1 == here.rebuilt


async def test_counts_are_the_same_after_being_published(clock: FakeClock) -> None:
    talks = Talks(clock, Outcome("yes", cost=THOUGHT))
    async with asks(talks, clock) as argo:
        context = context_of(argo)
        await argo.call("complete", prompt="?")
        context.announce("cache", "miss")
        context.report("clock", "it is late")
        charge = Charge(0.0, "", "complete", "", "a", "saved", Cost(0.5), layer="cache")
        context.record_charge(charge)
        here = context.counters.here()
    assert here == InstanceCounts.of_data(here.as_data())


@pytest.mark.parametrize(
    "damage",
    [
        {"upstreams": 1},
        {"upstreams": {"a": {}}},
        {"upstreams": {"a": {"ended": {}, "latency": 1}}},
        {"upstreams": {"a": {"ended": {}, "latency": [0, 0.0, b"\x80"], "usd": "much"}}},
        {"saved_usd": {"cache": "much"}},
    ],
)
def test_damaged_counts_of_upstreams_are_no_counts(damage: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match="these are not counts"):
        Counts.of_data({**Counts("bars").as_data(), **damage})


def test_counts_of_an_older_version_can_be_read() -> None:
    data = Counts("bars", hits={"cache": 2}).as_data()
    for name in ("upstreams", "saved_usd"):
        del data[name]
    assert Counts("bars", hits={"cache": 2}) == Counts.of_data(data)


async def test_what_was_counted_since_a_moment_is_the_difference(clock: FakeClock) -> None:
    talks = Talks(clock, *(Outcome("yes", cost=THOUGHT) for _ in range(3)))
    async with asks(talks, clock) as argo:
        context = context_of(argo)
        await argo.call("complete", prompt="?")
        context.report("clock", "it is late")
        before = context.counters.here()
        assert {} == before.since(before).troubles
        for _ in range(2):
            await argo.call("complete", prompt="?")
        context.report("clock", "it is late")
        here = context.counters.here().since(before)
    (one,) = here.counts
    upstream = one.upstreams["llama"]
    assert ({"ok": 2}, 2, 0.5) == (upstream.ended, upstream.latency.count, upstream.usd)
    named = upstream.models["llama-4"]
    assert (200, 0.5, 2) == (named.tokens_in, named.usd, named.durations[""].count)
    assert ({"clock": 1}, 0) == (here.troubles, here.rebuilt)
