"""The contract of layers, as tests that any layer must pass.

Subclass :class:`LayerConformance` in a test module, say how the plugin is registered and which
operation its layer serves, and pytest does the rest.
"""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.base.errors import Action, ConfigError, QuotaExceeded, UpstreamError
from argo_mw.model.events import LayerBypassed
from argo_mw.model.layer import SLOTS, Layer, Shadows
from argo_mw.model.operation import AnyOperation, operation
from argo_mw.testing.blocking import blocking_calls
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.events import capture_events
from argo_mw.testing.isolation import IsolatedTests
from argo_mw.testing.memory_use import remembered
from argo_mw.testing.plugins import FakePlugin
from argo_mw.testing.upstreams import Scripted

_MANY = 1_000
_TIMEOUT = 60.0


@operation(name="question", scope="public", subject="topic")
def _question(topic: str) -> object:
    """A question that only tests ask."""


class LayerConformance(IsolatedTests):
    """What every layer must hold to; override the first two attributes at least.

    Attributes:
        name: The plugin's name.
        plugin: The module or object that is its entry point.
        config: Its table in the configuration.
        operation: An operation that it serves, with its subject as the one parameter that it needs.
        tight: Changes to its table that bound what it remembers to a few hundred items; for
            layers that remember more unless told.
    """

    name: str
    plugin: object
    config: dict[str, object] = {}  # noqa: RUF012 - overridden, never changed
    operation: AnyOperation = _question
    tight: dict[str, object] = {}  # noqa: RUF012 - overridden, never changed

    def open(
        self,
        upstream: Scripted,
        *,
        flag: object = "on",
        shared: str = "memory://",
        clock: FakeClock | None = None,
        config: dict[str, object] | None = None,
    ) -> Argo:
        """An application with the layer around *upstream* and nothing else.

        *flag* is the layer's, *shared* the URL of the store, *clock* by default a fake one,
        *config* changes its table.
        """
        table = self.config | (config or {})
        asked = FakePlugin(operations=[self.operation], upstreams=[upstream])
        return Argo.open(
            {
                "argo": {"shared": shared, "strict": True},
                "flags": {self.name: flag},
                "plugins": {self.name: table} if table else {},
            },
            clock=clock or FakeClock(),
            plugins={self.name: self.plugin, "asked": asked},
            installed=False,
        )

    def scripted(self, *script: object) -> Scripted:
        """An upstream for the operation that follows *script*."""
        return Scripted("scripted", {self.operation.name}, *script, retries=0)

    @pytest.mark.asyncio
    async def test_it_has_one_name_everywhere(self) -> None:
        """Plugin, layer and flag are called the same; a named slot exists."""
        async with self.open(self.scripted()) as argo:
            layer = self._layer(argo)
            assert self.name == layer.name
            assert self.name in engine_of(argo).pipeline.flags
            assert layer.slot == "" or layer.slot in SLOTS

    @pytest.mark.asyncio
    async def test_it_is_transparent_when_off(self) -> None:
        """A call through a layer that is off is as if it were not installed."""
        upstream = self.scripted()
        async with self.open(upstream, flag="off") as argo:
            outcome = await argo.outcome(self.operation.name, **self._about("first"))
            assert outcome.value == "first"
            assert self.name not in outcome.via
            assert f"layer:{self.name}" not in outcome.tags
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_in_shadow_it_serves_nothing(self) -> None:
        """It is shown the answer and asks nobody; a layer that cannot shadow refuses to."""
        async with self.open(self.scripted()) as argo:
            layer = self._layer(argo)
        upstream = self.scripted()
        shadowing = self.open(upstream, flag="shadow")
        if not isinstance(layer.middleware, Shadows):
            with pytest.raises(ConfigError, match="cannot shadow"):
                await shadowing.__aenter__()
            return
        async with shadowing as argo:
            idle = engine_of(argo).tasks.names
            events = capture_events(argo)
            outcome = await argo.outcome(self.operation.name, **self._about("first"))
            await self._only(argo, idle)
        assert outcome.value == "first"
        assert self.name not in outcome.via
        assert len(upstream.asked) == 1
        failed = [event.error for event in events.of(LayerBypassed)]
        assert failed == [], f"its shadow failed: {failed[0]!r}"

    @pytest.mark.asyncio
    async def test_it_hands_on_the_answer(self) -> None:
        """On or off, the caller gets what the upstream said."""
        async with self.open(self.scripted()) as argo:
            assert await argo.call(self.operation.name, **self._about("first")) == "first"

    @pytest.mark.asyncio
    async def test_it_passes_what_the_chain_raises(self) -> None:
        """Refusals and upstream errors reach the caller as they were raised."""
        for error in (
            QuotaExceeded("used up", retry_at=1.0),
            UpstreamError("down", upstream="scripted", action=Action.STOP),
        ):
            async with self.open(self.scripted(error)) as argo:
                with pytest.raises(type(error), match=str(error)):
                    await argo.call(self.operation.name, **self._about("first"))

    @pytest.mark.asyncio
    async def test_it_passes_cancellation(self) -> None:
        """A caller that leaves ends the upstream request, and nothing stays behind."""
        upstream = self.scripted()
        upstream.gate.clear()
        async with self.open(upstream) as argo:
            idle = engine_of(argo).tasks.names
            task = asyncio.create_task(argo.outcome(self.operation.name, **self._about("first")))
            await upstream.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await self._only(argo, idle)
            assert upstream.cancelled == upstream.requests

    @pytest.mark.asyncio
    async def test_it_answers_while_the_shared_store_is_away(self) -> None:
        """Without the store it knows nothing, and asks the upstream once."""
        upstream = self.scripted()
        async with self.open(upstream, shared="unreachable://") as argo:
            assert await argo.call(self.operation.name, **self._about("first")) == "first"
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_hands_on_an_answer_that_cannot_be_copied(self) -> None:
        """What it cannot keep or share still reaches the caller, from one request."""
        answer = threading.Lock()
        upstream = self.scripted(lambda _: answer)
        async with self.open(upstream) as argo:
            assert await argo.call(self.operation.name, **self._about("first")) is answer
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_never_blocks_the_loop(self) -> None:
        """A call through it does not sleep, connect, or start a process on the loop's thread."""
        async with self.open(self.scripted()) as argo:
            with blocking_calls() as found:
                for _ in range(2):
                    await argo.call(self.operation.name, **self._about("first"))
        assert found == [], "\n".join(found)

    @pytest.mark.asyncio
    async def test_it_leaves_no_task_behind(self) -> None:
        """Thousands of different calls leave no task and no flight behind."""
        async with self.open(self.scripted()) as argo:
            before, idle = asyncio.all_tasks(), engine_of(argo).tasks.names
            for number in range(_MANY):
                await argo.call(self.operation.name, **self._about(f"S{number}"))
            await asyncio.sleep(0)
            assert engine_of(argo).tasks.names == idle
            left = len(asyncio.all_tasks() - before)
            # A few may work for all calls together.
            assert left < _MANY // 100, (
                f"{left} tasks outlive the {_MANY} calls that started them: await them, or start "
                "them with context.tasks.spawn(), and bound how many there are"
            )

    @pytest.mark.asyncio
    async def test_it_keeps_its_state_bounded(self) -> None:
        """What it remembers stops growing, however many different questions are asked."""
        async with self.open(self.scripted(), config=self.tight) as argo:
            half = await self._remembers(argo, range(_MANY))
            whole = await self._remembers(argo, range(_MANY, 2 * _MANY))
        assert whole - half < _MANY // 2, (
            f"layer {self.name!r} remembers {half} items after {_MANY} different questions, and "
            f"{whole} after as many more: its state has no bound. Give it one; if it has one, let "
            "`tight` name the configuration that makes it small"
        )

    def _about(self, subject: str) -> dict[str, object]:
        """The parameters of a question about *subject*."""
        return {self.operation.subject: subject}

    def _layer(self, argo: Argo) -> Layer:
        """The plugin's layer; its outermost, where it has several."""
        return engine_of(argo).pipeline.contributions[self.name].layers[0]

    async def _only(self, argo: Argo, idle: list[str]) -> None:
        """Wait until no background task runs but those called *idle*, which work for all calls."""
        late = time.monotonic() + _TIMEOUT
        while engine_of(argo).tasks.names != idle:
            names = ", ".join(engine_of(argo).tasks.names)
            assert time.monotonic() < late, f"tasks outlive the call that started them: {names}"
            await asyncio.sleep(0)

    async def _remembers(self, argo: Argo, numbers: range) -> int:
        """How many items its layer holds once the questions with these *numbers* are answered."""
        for number in numbers:
            await argo.call(self.operation.name, **self._about(f"S{number}"))
        layers = engine_of(argo).pipeline.contributions[self.name].layers
        context = context_of(argo)
        outside = [argo, context, engine_of(argo), *vars(context).values()]
        return sum(remembered(layer.middleware, outside=outside) for layer in layers)
