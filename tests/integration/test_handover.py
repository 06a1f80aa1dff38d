"""A caller has a new answer before the store has it, and no process loads it again for that."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from argo_mw import Argo, SharedUnavailable
from argo_mw.plugin import Closed, LayerActed, context_of
from argo_mw.testing import FakeClock, Scripted, capture_events, settle
from argo_mw_cache import loader as cache_loader
from tests.integration.loading_instances import instance


def counting(answer: str = "a", *, name: str = "a") -> Scripted:
    count = itertools.count(1)
    return Scripted(name, ["quote"], lambda _: f"{answer}{next(count)}", retries=0)


class Gate:
    """Holds back what an instance writes into the store."""

    def __init__(self, argo: Argo, monkeypatch: pytest.MonkeyPatch, *held: str) -> None:
        self._open = asyncio.Event()
        shared = context_of(argo).shared
        for name in held:
            monkeypatch.setattr(shared, name, self._behind(getattr(shared, name)))

    def open(self) -> None:
        self._open.set()

    def _behind(self, write: Callable[..., Any]) -> Callable[..., Any]:
        async def wait(*arguments: object, **named: object) -> object:
            await self._open.wait()
            return await write(*arguments, **named)

        return wait


def store_results_alone(argo: Argo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store of *argo* take results without the answers beside them.

    So it is in a store that cannot take both in one step, until the answer has landed as well.
    """
    shared = context_of(argo).shared
    settling = shared.settle

    async def alone(*arguments: Any, also: object, **named: Any) -> bool:
        return await settling(*arguments, **named)

    monkeypatch.setattr(shared, "settle", alone)


async def refuse(*_: object, **__: object) -> None:
    msg = "the disk is full"
    raise SharedUnavailable(msg)


async def ask(argo: Argo) -> object:
    return (await argo.outcome("quote", symbol="A")).value


async def test_a_caller_waits_neither_for_the_answer_to_be_stored_nor_for_its_result(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock, counting()) as argo:
        gate = Gate(argo, monkeypatch, "settle")
        assert "a1" == await ask(argo)
        assert [] == await context_of(argo).shared.scan("argo:cache:")
        assert "a1" == await ask(argo)
        gate.open()
    async with instance(store, clock, counting()) as other:
        assert 1 == len(await context_of(other).shared.scan("argo:cache:"))


@pytest.mark.parametrize("held", [(), ("set",), ("settle",)])
async def test_a_process_that_is_told_at_once_does_not_load_again(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, held: tuple[str, ...]
) -> None:
    """Neither after the release of the lease nor before it, nor while its holder stores."""
    one, other = counting(), counting("b")
    async with instance(store, clock, one) as first, instance(store, clock, other) as second:
        if not held:
            store_results_alone(first, monkeypatch)
        gate = Gate(first, monkeypatch, *held)
        assert "a1" == await ask(first)
        await clock.advance(0.001)
        told = asyncio.create_task(ask(second))
        await settle()
        gate.open()
        await clock.advance(0.1)
        assert "a1" == await told
    assert [] == other.asked


async def test_a_write_that_lands_between_look_and_lease_is_not_overlooked(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = counting(), counting("b")
    async with instance(store, clock, one) as first, instance(store, clock, other) as second:
        writes = Gate(first, monkeypatch, "settle")
        asks = Gate(second, monkeypatch, "acquire_and_get")
        assert "a1" == await ask(first)
        await clock.advance(0.001)
        told = asyncio.create_task(ask(second))
        await settle()  # it has looked, and asks for the lease
        writes.open()
        await settle()
        asks.open()
        assert "a1" == await told
    assert [] == other.asked


async def test_a_call_that_wants_a_newer_answer_is_not_given_the_one_on_its_way(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = counting(), counting("b")
    async with instance(store, clock, one) as first, instance(store, clock, other) as second:
        store_results_alone(first, monkeypatch)
        assert "a1" == await ask(first)
        await clock.advance(0.001)
        asked = await second.options(max_age=0.0005).outcome("quote", symbol="A")
        assert "b1" == asked.value


async def test_an_answer_on_its_way_is_for_no_process_without_a_cache(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = counting(), counting("b")
    uncached = instance(store, clock, other, flags={"cache": "off"})
    async with instance(store, clock, one) as first, uncached as second:
        store_results_alone(first, monkeypatch)
        assert "a1" == await ask(first)
        await clock.advance(0.001)
        assert "b1" == await ask(second)


@pytest.mark.parametrize("change", ["invalidate", "expire"])
async def test_an_answer_on_its_way_is_not_given_once_its_subject_has_changed(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    one, other = counting(), counting("b")
    async with instance(store, clock, one) as first, instance(store, clock, other) as second:
        store_results_alone(first, monkeypatch)
        assert "a1" == await ask(first)
        await settle()
        await context_of(second).tag_versions.load(["subject:A"])
        await getattr(context_of(second), change)(["subject:A"])
        await clock.advance(0.001)
        assert "b1" == await ask(second)


@pytest.mark.parametrize(
    ("upstreams", "flags"),
    [
        pytest.param(2, {}, id="another process may ask another upstream"),
        pytest.param(1, {"coalesce": "off"}, id="no lease is held"),
    ],
)
async def test_a_caller_waits_for_the_store_where_the_answer_cannot_be_had_elsewhere(
    store: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    upstreams: int,
    flags: dict[str, object],
) -> None:
    asked = [counting(name=name) for name in "ab"[:upstreams]]
    async with instance(store, clock, *asked, flags=flags) as argo:
        gate = Gate(argo, monkeypatch, "set")
        asking = asyncio.create_task(ask(argo))
        await settle()
        assert not asking.done()
        gate.open()
        assert "a1" == await asking


async def test_no_more_than_some_answers_are_stored_behind_their_callers(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_loader, "_MAX_SHARING", 2)
    async with instance(store, clock, counting()) as argo:
        gate = Gate(argo, monkeypatch, "set")
        asking = [asyncio.create_task(argo.call("quote", symbol=f"{i}")) for i in range(3)]
        await settle()
        assert [True, True, False] == [task.done() for task in asking]
        gate.open()
        await asyncio.gather(*asking)


async def test_a_write_that_fails_behind_its_caller_is_counted_and_made_up_for(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock, counting()) as argo:
        events = capture_events(argo)
        shared = context_of(argo).shared
        with monkeypatch.context() as patched:
            patched.setattr(shared, "set", refuse)
            assert "a1" == await ask(argo)
            await settle()
        acts = [one.action for one in events.of(LayerActed) if one.layer == "cache"]
        assert ["miss", "store", "unreachable"] == acts
        await argo.call("quote", symbol="B")
        await settle()
        assert 2 == len(await shared.scan("argo:cache:"))


async def test_an_answer_that_comes_while_the_application_closes_reaches_its_caller(
    store: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(store, clock, counting()) as argo:
        tasks = context_of(argo).tasks
        spawn = tasks.spawn

        def closed(name: str, code: Any, **more: Any) -> object:
            if name == "cache:store":
                code.close()
                msg = "the application is closed"
                raise Closed(msg)
            return spawn(name, code, **more)

        monkeypatch.setattr(tasks, "spawn", closed)
        monkeypatch.setattr(context_of(argo).shared, "settle", refuse)
        assert "a1" == await ask(argo)
