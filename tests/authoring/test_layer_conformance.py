"""The contract of layers passes a layer that keeps it, and explains what breaks it."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import closing

import pytest

from argo_mw import Outcome
from argo_mw.plugin import Call, Context, Layer, Next, hookimpl
from argo_mw.testing import FakePlugin, LayerConformance, blocking_calls, layers


class Remembering:
    """Keeps every subject it has met, or the last *max_entries*."""

    def __init__(self, max_entries: int | None = None) -> None:
        self._max_entries = max_entries
        self._met: OrderedDict[str, Outcome] = OrderedDict()

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self._met[call.subject] = outcome = await call_next(call)
        if self._max_entries is not None and len(self._met) > self._max_entries:
            self._met.popitem(last=False)
        return outcome


class Sweeping(Remembering):
    """Can shadow, and has a task of its own while it is open."""

    def __init__(self, context: Context) -> None:
        super().__init__(max_entries=100)
        self._context = context

    async def open(self) -> None:
        self._context.tasks.spawn("sweep", asyncio.Event().wait())

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        await asyncio.sleep(0)


class SweepingPlugin:
    """Brings the layer; one is made for each application."""

    @hookimpl
    def register_layers(self, context: Context) -> Iterable[Layer]:
        return [Layer("mine", Sweeping(context))]


class TestOneThatKeepsIt(LayerConformance):
    name = "mine"
    plugin: object = SweepingPlugin


class TestOneThatCannotShadow(LayerConformance):
    name = "mine"
    plugin = FakePlugin(layer=Layer("mine", Remembering(max_entries=100)))


def suite(middleware: object) -> TestOneThatKeepsIt:
    broken = TestOneThatKeepsIt()
    broken.plugin = FakePlugin(layer=Layer("mine", middleware))  # type: ignore[arg-type]
    return broken


async def test_state_without_a_bound_is_reported() -> None:
    expected = "layer 'mine' remembers 1000 items after 1000 different questions, and 2000 after"
    with pytest.raises(AssertionError, match=f"{expected}(?s:.*) Give it one; if it has one, let"):
        await suite(Remembering()).test_it_keeps_its_state_bounded()


async def test_the_answer_is_shown_beside_the_expected_one() -> None:
    async def shout(call: Call, call_next: Next) -> Outcome:
        return Outcome("SHOUTED")

    with pytest.raises(AssertionError, match=r"'SHOUTED' == 'first'"):
        await suite(shout).test_it_hands_on_the_answer()


async def test_a_shadow_that_fails_is_reported() -> None:
    class Failing(Remembering):
        async def shadow(self, call: Call, outcome: Outcome) -> None:
            msg = "no"
            raise ValueError(msg)

    with pytest.raises(
        AssertionError, match=r"it failed and was bypassed: mine: ValueError\('no'\)"
    ):
        await suite(Failing()).test_in_shadow_it_serves_nothing()


async def test_a_task_that_outlives_a_cancelled_call_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layers, "_TIMEOUT", 0.0)

    class Staying(FakePlugin):
        @hookimpl
        def register_layers(self, context: Context) -> Iterable[Layer]:
            async def stay(call: Call, call_next: Next) -> Outcome:
                context.tasks.spawn("stays", asyncio.Event().wait())
                return await call_next(call)

            return [Layer("mine", stay)]

    broken = TestOneThatKeepsIt()
    broken.plugin = Staying()
    with pytest.raises(AssertionError, match="tasks outlive the call that started them: .*stays"):
        await broken.test_it_passes_cancellation()


async def test_state_in_a_closure_is_found_too() -> None:
    met: set[str] = set()

    async def remember(call: Call, call_next: Next) -> Outcome:
        met.add(call.subject)
        return await call_next(call)

    with pytest.raises(AssertionError, match="its state has no bound"):
        await suite(remember).test_it_keeps_its_state_bounded()


def sleep() -> None:
    time.sleep(0)


def ask_a_database() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("select 1")


def connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (sleep, r"time.sleep at [\w.]+:\d+ .*: await context.clock.sleep\(\), or move it to a"),
        (ask_a_database, r"sqlite3 execute at [\w.]+:\d+ .*: give it a thread of its own"),
        (connect, r"socket.connect at [\w.]+:\d+ .*: use an asyncio client"),
        (lambda: subprocess.run(["true"], check=True), r"subprocess.Popen at .*: await asyncio."),
    ],
)
async def test_a_blocking_call_is_reported_with_its_place_and_a_remedy(
    block: Callable[[], object], expected: str
) -> None:
    async def blocking(call: Call, call_next: Next) -> Outcome:
        block()
        return await call_next(call)

    with pytest.raises(AssertionError, match=expected) as caught:
        await suite(blocking).test_it_never_blocks_the_loop()
    assert "blocks the event loop, and every call with it" in str(caught.value)
    assert "test_layer_conformance" in str(caught.value)


async def test_other_threads_and_asyncio_do_not_count_as_blocking() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        with blocking_calls() as found:
            await asyncio.to_thread(time.sleep, 0)
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
    assert found == []


async def test_a_task_that_outlives_its_call_is_reported() -> None:
    stop = asyncio.Event()
    started: list[asyncio.Task[object]] = []

    async def leak(call: Call, call_next: Next) -> Outcome:
        started.append(asyncio.ensure_future(stop.wait()))
        return await call_next(call)

    try:
        with pytest.raises(AssertionError, match="1000 tasks outlive the 1000 calls"):
            await suite(leak).test_it_leaves_no_task_behind()
    finally:
        stop.set()
        await asyncio.gather(*started)
