"""Nothing of a plugin that is reported as left out goes on: no layer, guard, observer or task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
import structlog
from attrs import frozen

from argo_mw import Argo
from argo_mw.app.application import context_of, engine_of
from argo_mw.cli.doctor import examine
from argo_mw.plugin import (
    Call,
    Context,
    Event,
    Guard,
    Layer,
    Next,
    Observer,
    Outcome,
    Request,
    Result,
    Upstream,
    hookimpl,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from tests.core.conftest import bars


@pytest.fixture(autouse=True)
def _log_of_the_program():
    """The doctor captures the log, and leaves structlog configured."""
    yield
    structlog.reset_defaults()


@frozen
class Config:
    """The table of the plugin that fails."""

    level: int = 1


class Living:
    """A layer that says when it works."""

    def __init__(self, plugin: Failing, level: int) -> None:
        self._plugin = plugin
        self._level = level

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self._plugin.worked.append("layer")
        return await call_next(call)

    async def open(self) -> None:
        self._plugin.act("open", self._level)
        self._plugin.spawn()

    def take_over(self, previous: object) -> None:
        self._plugin.act("take_over", self._level)

    async def close(self) -> None:
        self._plugin.ended.append("close")


class Watching:
    """A guard that says when it works."""

    name = "watching"

    def __init__(self, plugin: Failing) -> None:
        self._plugin = plugin

    async def reserve(self, request: Request) -> None:
        self._plugin.worked.append("guard")

    def settle(self, request: Request, result: Result) -> None: ...

    async def release(self, request: Request) -> None: ...


class Failing:
    """A plugin that does all that plugins do, and fails at one *stage*, of one *level*."""

    def __init__(self, stage: str, level: int = 1) -> None:
        self._fails = (stage, level)
        self._context: Context | None = None
        self.worked: list[str] = []
        self.ended: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def act(self, stage: str, level: int = 1) -> None:
        if (stage, level) == self._fails:
            msg = f"fails at {stage}"
            raise RuntimeError(msg)

    def spawn(self) -> None:
        assert self._context is not None

        async def work() -> None:
            assert self._context is not None
            self.tasks.append(self._context.tasks.spawn("deeper", asyncio.Event().wait()))
            await asyncio.Event().wait()

        self.tasks.append(self._context.tasks.spawn("work", work()))

    @hookimpl
    def register_config(self) -> type:
        return Config

    @hookimpl
    def register_layers(self, config: Config) -> Iterable[Layer]:
        layers = [Layer("failing", Living(self, config.level), before=("race",))]
        if self._fails[0] == "inner open":
            self._fails = ("open", 0)
            inner = Living(self, 0)
            layers.append(Layer("failing.inner", inner, after=("race",)))
        return layers

    @hookimpl
    def register_guards(self, upstream: Upstream) -> Iterable[Guard]:
        return [Watching(self)]

    @hookimpl
    def register_observers(self) -> Iterable[Observer]:
        def listen(event: Event) -> None:
            self.worked.append("observer")

        self.act("register_observers")
        return [listen]

    @hookimpl
    def register_gauges(self) -> Iterable[object]:
        self.act("register_gauges")
        return []

    @hookimpl
    async def startup(self, context: Context) -> None:
        self._context = context
        self.spawn()
        await settle()
        self.act("startup")

    @hookimpl
    async def config_changed(self, config: Config) -> None:
        self.act("config_changed", config.level)

    @hookimpl
    async def shutdown(self) -> None:
        self.ended.append("shutdown")


def opened(plugin: Failing, clock: FakeClock) -> Argo:
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", ["bars"])])
    return Argo.open(
        {"argo": {"shared": "memory://"}},
        clock=clock,
        plugins={"asked": asked, "failing": plugin},
        installed=False,
    )


async def assert_it_is_gone(argo: Argo, plugin: Failing, clock: FakeClock) -> None:
    await settle()
    await clock.advance(100.0)  # until no call can be left in its layers
    await settle()
    assert [("failing", True)] == [(one.plugin, one.left_out) for one in argo.broken]
    plugin.worked.clear()
    assert "A" == await argo.call("bars", symbol="A")
    assert [] == plugin.worked
    assert all(task.done() for task in plugin.tasks)
    assert "failing" not in engine_of(argo).pipeline.contributions


@pytest.mark.parametrize("stage", ["register_observers", "startup", "open", "inner open"])
async def test_nothing_goes_on_of_a_plugin_that_fails_at_the_start(
    stage: str, clock: FakeClock
) -> None:
    plugin = Failing(stage)
    async with opened(plugin, clock) as argo:
        ended = {"open": ["shutdown"], "inner open": ["close", "shutdown"]}.get(stage, [])
        assert ended == plugin.ended
        await assert_it_is_gone(argo, plugin, clock)
    assert ended == plugin.ended


@pytest.mark.parametrize("stage", ["take_over", "open"])
async def test_nothing_goes_on_of_a_plugin_that_fails_at_a_reload(
    stage: str, clock: FakeClock
) -> None:
    plugin = Failing(stage, level=2)
    async with opened(plugin, clock) as argo:
        await argo.call("bars", symbol="A")
        assert {"layer", "guard", "observer"} <= set(plugin.worked)
        await argo.reload({"argo": {"shared": "memory://"}, "plugins": {"failing": {"level": 2}}})
        assert "shutdown" not in plugin.ended
        await assert_it_is_gone(argo, plugin, clock)
        assert ["close", "shutdown"] == plugin.ended
    assert ["close", "shutdown"] == plugin.ended


async def test_nothing_goes_on_of_a_plugin_whose_hook_fails_while_it_runs(clock: FakeClock) -> None:
    plugin = Failing("register_gauges")
    async with opened(plugin, clock) as argo:
        context = context_of(argo)
        context.collect("register_gauges", context=context)
        await assert_it_is_gone(argo, plugin, clock)
        assert ["close", "shutdown"] == plugin.ended


async def test_a_plugin_that_stays_in_use_is_not_reported_as_left_out(clock: FakeClock) -> None:
    plugin = Failing("config_changed", level=2)
    async with opened(plugin, clock) as argo:
        await argo.reload({"argo": {"shared": "memory://"}, "plugins": {"failing": {"level": 2}}})
        assert [False] == [broken.left_out for broken in argo.broken]
        assert "failed, still in use" == argo.broken[0].what
        found = [one for one in await examine(argo) if one.what == "config_changed"]
        assert "it stays in use" in found[0].found
        plugin.worked.clear()
        await argo.call("bars", symbol="A")
        assert {"layer", "guard", "observer"} <= set(plugin.worked)
