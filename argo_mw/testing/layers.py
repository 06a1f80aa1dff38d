"""The contract of layers, as tests that any layer must pass.

Subclass :class:`LayerConformance` in a test module, say how the plugin is registered and which
operation its layer serves, and pytest does the rest.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from argo_mw.app import Argo
from argo_mw.errors import Action, QuotaExceeded, UpstreamError
from argo_mw.layer import SLOTS
from argo_mw.operation import Operation, operation
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.plugins import FakePlugin
from argo_mw.testing.upstreams import Scripted


@operation(name="question", scope="public", subject="symbol")
def _question(symbol: str) -> object:
    """A question that only tests ask."""


class LayerConformance:
    """What every layer must hold to; override the first two attributes at least.

    Attributes:
        name: The plugin's name.
        plugin: The module or object that is its entry point.
        config: Its table in the configuration.
        operation: An operation that it serves, with a ``symbol`` as its subject.
    """

    name: str
    plugin: object
    config: dict[str, object] = {}  # noqa: RUF012 - overridden, never changed
    operation: Operation = _question

    def open(
        self,
        upstream: Scripted,
        *,
        flag: object = "on",
        shared: str = "memory://",
        clock: FakeClock | None = None,
    ) -> Argo:
        """An application with the layer around *upstream* and nothing else.

        *flag* is the layer's, *shared* the URL of the store, *clock* a fake one unless told.
        """
        asked = FakePlugin(operations=[self.operation], upstreams=[upstream])
        return Argo.open(
            {
                "argo": {"shared": shared, "strict": True},
                "flags": {self.name: flag},
                "plugins": {self.name: self.config} if self.config else {},
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
            layer = argo.engine.build.parts[self.name].layer
            assert layer is not None
            assert layer.name == self.name
            assert self.name in argo.flags
            assert layer.slot == "" or layer.slot in SLOTS

    @pytest.mark.asyncio
    async def test_it_is_transparent_when_off(self) -> None:
        """A call through a layer that is off is as if it were not installed."""
        upstream = self.scripted()
        async with self.open(upstream, flag="off") as argo:
            outcome = await argo.outcome(self.operation.name, symbol="AAPL")
            assert outcome.value == "AAPL"
            assert self.name not in outcome.via
            assert f"layer:{self.name}" not in outcome.tags
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_hands_on_the_answer(self) -> None:
        """On or off, the caller gets what the upstream said."""
        async with self.open(self.scripted()) as argo:
            assert await argo.call(self.operation.name, symbol="AAPL") == "AAPL"

    @pytest.mark.asyncio
    async def test_it_passes_what_the_chain_raises(self) -> None:
        """Refusals and upstream errors reach the caller as they were raised."""
        for error in (
            QuotaExceeded("used up", retry_at=1.0),
            UpstreamError("down", upstream="scripted", action=Action.STOP),
        ):
            async with self.open(self.scripted(error)) as argo:
                with pytest.raises(type(error), match=str(error)):
                    await argo.call(self.operation.name, symbol="AAPL")

    @pytest.mark.asyncio
    async def test_it_passes_cancellation(self) -> None:
        """A caller that leaves ends the upstream request, and nothing stays behind."""
        upstream = self.scripted()
        upstream.gate.clear()
        async with self.open(upstream) as argo:
            task = asyncio.create_task(argo.outcome(self.operation.name, symbol="AAPL"))
            await upstream.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while argo.engine.tasks.names:
                await asyncio.sleep(0)
            assert upstream.cancelled == upstream.requests

    @pytest.mark.asyncio
    async def test_it_answers_while_the_shared_store_is_away(self) -> None:
        """Without the store it knows nothing, and asks the upstream once."""
        upstream = self.scripted()
        async with self.open(upstream, shared="away://") as argo:
            assert await argo.call(self.operation.name, symbol="AAPL") == "AAPL"
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_hands_on_an_answer_that_cannot_be_copied(self) -> None:
        """What it cannot keep or share still reaches the caller, from one request."""
        answer = threading.Lock()
        upstream = self.scripted(lambda _: answer)
        async with self.open(upstream) as argo:
            assert await argo.call(self.operation.name, symbol="AAPL") is answer
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_keeps_its_state_bounded(self) -> None:
        """Thousands of different calls leave no task and no flight behind."""
        async with self.open(self.scripted()) as argo:
            for number in range(2_000):
                await argo.call(self.operation.name, symbol=f"S{number}")
            await asyncio.sleep(0)
            assert argo.engine.tasks.names == []
