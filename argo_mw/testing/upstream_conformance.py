"""The contract of upstreams, as tests that any upstream must pass.

Subclass :class:`UpstreamConformance` in a test module, put a :class:`FakeService` where the
upstream's service is, and pytest does the rest.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from argo_mw.app.application import Argo, engine_of
from argo_mw.base.errors import Action, UpstreamError
from argo_mw.model.call import Call
from argo_mw.model.upstream import Upstream
from argo_mw.testing.blocking import blocking_calls
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.isolation import IsolatedTests

Behaviour = Literal["answers", "fails", "hangs"]


class FakeService:
    """Decides how a faked service behaves.

    Attributes:
        visits: How many requests reached it.
        cancelled: How many of them were cancelled while it hung.
        arrived: Set once a request has reached it.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.visits = 0
        self.cancelled = 0
        self.arrived = asyncio.Event()

    async def visit(self) -> bool:
        """Await this for each request; answer it if this returns true, else fail it."""
        self.visits += 1
        self.arrived.set()
        if self._behaviour == "hangs":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self._behaviour == "answers"


class UpstreamConformance(IsolatedTests):
    """The contract of every upstream, as tests.

    A subclass implements :meth:`plugin` and sets the first three attributes at least.

    Attributes:
        name: The upstream's name.
        operation: The name of an operation that it answers.
        parameters: The parameters of a call that it can answer.
        config: The plugin's table in the configuration.
        plugin_name: The plugin's name, where it differs from the upstream's.
        secrets: Secrets in the configuration, which must appear nowhere.
    """

    name: str
    operation: str
    parameters: Mapping[str, object]
    config: dict[str, object] = {}  # noqa: RUF012 - overridden, never changed
    plugin_name: str = ""
    secrets: tuple[str, ...] = ()

    def plugin(self, service: FakeService) -> object:
        """Return the plugin, with *service* in place of its service."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self, service: FakeService) -> AsyncIterator[Argo]:
        """Open an application with no other plugin, in front of *service*."""
        plugin_name = self.plugin_name or self.name
        settings = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {plugin_name: self.config} if self.config else {},
        }
        plugins = {plugin_name: self.plugin(service)}
        argo = Argo.open(settings, clock=FakeClock(), plugins=plugins, installed=False)
        async with argo:
            yield argo

    def bound_call(self, argo: Argo) -> tuple[Upstream, Call]:
        """Return the upstream in *argo*, and a call bound to it."""
        pipeline = engine_of(argo).pipeline
        call, _ = pipeline.calls.get(self.operation, "tests", dict(self.parameters))
        call = call.bind(self.name)
        found = [u for one in pipeline.contributions.values() for u in one.upstreams]
        return next(u for u in found if u.name == self.name), call

    async def failure(self) -> UpstreamError:
        """Return the error of the upstream itself when its service fails, without retries."""
        async with self.opened(FakeService("fails")) as argo:
            upstream, call = self.bound_call(argo)
            with pytest.raises(UpstreamError) as caught:
                await upstream.fetch(call)
            return caught.value

    @pytest.mark.asyncio
    async def test_it_answers_under_its_name(self) -> None:
        """A call makes one request, and its outcome names the upstream."""
        service = FakeService("answers")
        async with self.opened(service) as argo:
            outcome = await argo.outcome(self.operation, **self.parameters)
        assert outcome.upstream == self.name
        assert [attempt.upstream for attempt in outcome.attempts] == [self.name]
        assert service.visits == 1, f"one call made {service.visits} visits to the service"

    @pytest.mark.asyncio
    async def test_it_never_blocks_the_loop(self) -> None:
        """A call does not sleep, connect, or start a process on the loop's thread."""
        async with self.opened(FakeService("answers")) as argo:
            with blocking_calls() as found:
                await argo.outcome(self.operation, **self.parameters)
        assert found == [], "\n".join(found)

    @pytest.mark.asyncio
    async def test_its_errors_say_what_to_do(self) -> None:
        """A failing service raises an upstream error with the upstream's name and an action."""
        error = await self.failure()
        assert error.upstream == self.name
        assert isinstance(error.action, Action)
        assert str(error)

    @pytest.mark.asyncio
    async def test_it_passes_cancellation_to_its_service(self) -> None:
        """A cancelled caller ends the request, and no task is left behind."""
        service = FakeService("hangs")
        async with self.opened(service) as argo:
            asking = asyncio.create_task(argo.outcome(self.operation, **self.parameters))
            await service.arrived.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            while engine_of(argo).tasks.names:
                await asyncio.sleep(0)
        assert service.cancelled == service.visits, "the request was not cancelled with its caller"

    @pytest.mark.asyncio
    async def test_it_shows_no_secret(self) -> None:
        """No repr of the upstream, its configuration, calls, outcomes or errors has one."""
        async with self.opened(FakeService("answers")) as argo:
            upstream, call = self.bound_call(argo)
            configs = [parts.config for parts in engine_of(argo).pipeline.contributions.values()]
            outcome = await upstream.fetch(call)
            shown = [repr(one) for one in (upstream, configs, call, call.key, outcome)]
        error = await self.failure()
        shown += [repr(error), *traceback.format_exception(error)]
        for secret in self.secrets:
            seen = any(secret in text for text in shown)
            assert not seen, "a secret is shown by a repr, an outcome or an error"
