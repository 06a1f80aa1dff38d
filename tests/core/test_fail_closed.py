"""A layer that fails closed lets no call be answered that it should have seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest
from attrs import frozen

from argo_mw import Argo, ConfigError, LayerUnavailable, Outcome, PluginError, Refusal
from argo_mw.app.application import engine_of
from argo_mw.cli.doctor import examine
from argo_mw.plugin import Call, Layer, LayerBypassed, Next, hookimpl
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from tests.core.conftest import bars, signal


@frozen
class EmbargoConfig:
    """Where the list is."""

    file: str = ""


class Embargo:
    """A middleware that fails at a *stage*."""

    def __init__(self, stage: str = "") -> None:
        self.stage = stage
        self.seen = 0

    def _at(self, stage: str) -> None:
        if self.stage == stage:
            raise OSError("the list of embargoes cannot be read")

    async def open(self) -> None:
        self._at("open")

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self.seen += 1
        self._at("before")
        outcome = await call_next(call)
        self._at("after")
        return None if self.stage == "nothing" else outcome  # type: ignore[return-value]


class Finding(Embargo):
    def find(self, call: Call) -> object:
        self._at("find")
        if self.stage == "awaited find":
            return self._look()
        return "text" if self.stage == "odd find" else None

    async def _look(self) -> None:
        raise OSError("the list of embargoes cannot be read")


class FindingLater(Embargo):
    async def find(self, call: Call) -> None:
        raise OSError("the list of embargoes cannot be read")


class Store:
    """A layer further in, with everything at hand."""

    def find(self, call: Call) -> Outcome:
        return Outcome("kept")

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return Outcome("kept")


class EmbargoPlugin:
    """A plugin that fails at a *stage*, whose layer serves ``bars``."""

    def __init__(self, stage: str, middleware: Callable[[], Embargo] = Embargo) -> None:
        self.stage = stage
        self.made = middleware()
        self.closed = True

    def _serves(self, operation: object) -> bool:
        if self.stage == "serves":
            raise ValueError("which operations?")
        return operation is bars

    @hookimpl
    def register_layers(self) -> Iterable[Layer]:
        return [Layer("embargo", self.made, serves=self._serves, fail_closed=self.closed)]  # type: ignore[arg-type]

    @hookimpl
    def register_flags(self) -> Iterable[str]:
        if self.stage == "register_flags":
            raise ValueError("no flags")
        return ()

    @hookimpl
    async def startup(self) -> None:
        if self.stage == "startup":
            raise ValueError("no start")
        if self.stage == "slow":
            await asyncio.sleep(60)


def opened(plugin: object, upstream: Scripted, *, flag: object = "on", **more: object) -> Argo:
    asked = FakePlugin(
        operations=[bars, signal],
        upstreams=[upstream, Scripted("signals", {"signal"})],
        layers=[Layer("asked", Store(), after=("cache",))] if more.pop("kept", False) else [],
    )
    return Argo.open(
        {
            "argo": {"shared": "memory://", "startup_timeout": 0.2},
            "flags": {"embargo": flag},
        },
        clock=FakeClock(),
        plugins={"embargo": plugin, "asked": asked},
        installed=False,
    )


RUNNING = [
    *((Embargo, stage) for stage in ("before", "after", "nothing")),
    *((Finding, stage) for stage in ("find", "awaited find", "odd find")),
    (FindingLater, "find"),
]


@pytest.mark.parametrize(("kind", "stage"), RUNNING)
async def test_a_call_is_refused_by_a_layer_that_fails(kind: type[Embargo], stage: str) -> None:
    upstream = Scripted("a", {"bars"})
    plugin = EmbargoPlugin("", lambda: kind(stage))
    async with opened(plugin, upstream) as argo:
        events = capture_events(argo)
        with pytest.raises(
            LayerUnavailable, match=r"bars A is refused.*flags kill embargo"
        ) as info:
            await argo.call("bars", symbol="A")
        assert "embargo" == info.value.layer
        assert isinstance(info.value, Refusal)
        assert isinstance(info.value.__cause__, (OSError, TypeError))
        assert [] == events.of(LayerBypassed)
        assert (1 if stage in ("after", "nothing") else 0) == len(upstream.asked)
        assert "A" == await argo.call("signal", symbol="A")


@pytest.mark.parametrize("kind", [Embargo, Finding, FindingLater])
async def test_what_is_at_hand_further_in_does_not_pass_it_by(kind: type[Embargo]) -> None:
    plugin = EmbargoPlugin("", lambda: kind("before"))
    async with opened(plugin, Scripted("a", {"bars"}), kept=True) as argo:
        with pytest.raises(LayerUnavailable):
            await argo.call("bars", symbol="A")
        assert "kept" == await argo.call("signal", symbol="A")


STAGES = ("open", "startup", "slow", "serves", "register_flags")


def failing(stage: str) -> EmbargoPlugin:
    return EmbargoPlugin(stage, lambda: Embargo(stage))


@pytest.mark.parametrize("stage", STAGES)
async def test_a_call_is_refused_where_its_layer_is_left_out(stage: str) -> None:
    upstream = Scripted("a", {"bars"})
    async with opened(failing(stage), upstream) as argo:
        assert ["embargo"] == [broken.plugin for broken in argo.broken]
        with pytest.raises(LayerUnavailable, match=r"failed at .*fix it and restart"):
            await argo.call("bars", symbol="A")
        assert [] == upstream.asked
        if stage != "serves":
            assert "A" == await argo.call("signal", symbol="A")
        (explained, *_) = argo.explain("bars", symbol="A")
        assert explained.name == "embargo"
        assert "would refuse" in explained.text
        findings = [found for found in await examine(argo) if found.where == "embargo"]
        assert any("are refused" in found.found and not found.well for found in findings)


@pytest.mark.parametrize("stage", [*STAGES, "before"])
@pytest.mark.parametrize("flag", ["off", "shadow"])
async def test_off_means_off(stage: str, flag: str) -> None:
    upstream = Scripted("a", {"bars"})
    plugin = failing(stage)
    if flag == "shadow":

        class Looking(Embargo):
            async def shadow(self, call: Call, outcome: Outcome) -> None:
                """See it."""

        plugin = EmbargoPlugin(stage, lambda: Looking(stage))
    async with opened(plugin, upstream, flag=flag) as argo:
        assert "A" == await argo.call("bars", symbol="A")
        assert 1 == len(upstream.asked)


async def test_a_ramp_refuses_only_the_calls_that_its_layer_would_have_seen() -> None:
    upstream = Scripted("a", {"bars"})
    async with opened(failing("open"), upstream, flag="50% by subject") as argo:
        answers = await argo.map("bars", [f"S{number}" for number in range(60)])
    refused = [one for one in answers.values() if isinstance(one, LayerUnavailable)]
    assert 0 < len(refused) < 60
    assert 60 - len(refused) == len(upstream.asked)


@pytest.mark.parametrize("stage", ["open", "before"])
async def test_by_default_a_layer_fails_open(stage: str) -> None:
    upstream = Scripted("a", {"bars"})
    plugin = failing(stage)
    plugin.closed = False
    async with opened(plugin, upstream) as argo:
        assert "A" == await argo.call("bars", symbol="A")


async def test_a_cancelled_call_is_cancelled_and_not_refused() -> None:
    upstream = Scripted("a", {"bars"})
    upstream.gate.clear()
    async with opened(EmbargoPlugin(""), upstream) as argo:
        events = capture_events(argo)
        task = asyncio.create_task(argo.call("bars", symbol="A"))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [] == events.of(LayerBypassed)
        upstream.gate.set()
        assert "A" == await argo.call("bars", symbol="A")


async def test_what_the_chain_raises_is_no_failure_of_the_layer() -> None:
    upstream = Scripted("a", {"bars"}, Refusal("used up"))
    async with opened(EmbargoPlugin(""), upstream) as argo:
        with pytest.raises(Refusal, match="used up") as info:
            await argo.call("bars", symbol="A")
        assert not isinstance(info.value, LayerUnavailable)


async def test_it_refuses_when_a_reload_leaves_it_out() -> None:
    upstream = Scripted("a", {"bars"})

    class Configured(EmbargoPlugin):
        @hookimpl
        def register_config(self) -> type:
            return EmbargoConfig

        @hookimpl
        def register_layers(self, config: EmbargoConfig) -> Iterable[Layer]:  # type: ignore[override]
            if config.file:
                raise ValueError("no such list")
            return [Layer("embargo", self.made, fail_closed=True)]

    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    argo = Argo.open(
        {"argo": {"shared": "memory://"}},
        clock=FakeClock(),
        plugins={"embargo": Configured(""), "asked": asked},
        installed=False,
    )
    async with argo:
        assert "A" == await argo.call("bars", symbol="A")
        before = engine_of(argo).pipeline.contributions["embargo"]
        for _ in range(2):
            await argo.reload(
                {"argo": {"shared": "memory://"}, "plugins": {"embargo": {"file": "x"}}}
            )
            assert engine_of(argo).pipeline.contributions["embargo"] is not before
            with pytest.raises(LayerUnavailable, match="register_layers"):
                await argo.call("bars", symbol="A")
        await argo.reload({"argo": {"shared": "memory://"}, "flags": {"embargo": "off"}})
        assert "A" == await argo.call("bars", symbol="A")


async def test_a_plugin_that_is_required_stops_the_start_when_it_is_left_out() -> None:
    class Broken:
        @hookimpl
        def register_config(self) -> type:
            raise ValueError("before its layers are known")

    asked = FakePlugin(operations=[bars], upstreams=[Scripted("a", {"bars"})])

    def argo(**settings: object) -> Argo:
        return Argo.open(
            {"argo": {"shared": "memory://", **settings}},
            plugins={"embargo": Broken(), "other": Broken(), "asked": asked},
            installed=False,
        )

    with pytest.raises(PluginError, match="'embargo' failed at register_config"):
        await argo(required=["embargo"]).__aenter__()
    async with argo() as opened:
        assert ["embargo", "other"] == [one.plugin for one in opened.broken]
    with pytest.raises(ConfigError, match=r"\[argo\] required names plugin 'embargos'.*embargo"):
        argo(required=["embargos"])
    with pytest.raises(ConfigError, match=r"'embargo' is named under required and under block"):
        argo(required=["embargo"], block=["embargo"])
