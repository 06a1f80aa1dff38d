"""What a plugin's author is told, as ``argo-mw plugins`` and the log tell it."""

from __future__ import annotations

import pytest

from argo_mw import Argo, Call, ConfigError, Layer, Next, Outcome, PluginError, hookimpl
from argo_mw.testing import FakeClock, FakePlugin


async def through(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)


class WrongSignature:
    @hookimpl
    def register_layer(self, colour: object) -> Layer:
        raise NotImplementedError


def opened(strict: bool = False, **plugins: object) -> Argo:
    settings = {"argo": {"shared": "memory://", "strict": strict}}
    return Argo.open(settings, plugins=plugins, installed=False, clock=FakeClock())


async def test_a_wrong_signature_names_the_hook_and_the_argument() -> None:
    async with opened(mine=WrongSignature()) as argo:
        [broken] = argo.broken
    assert (broken.plugin, broken.stage) == ("mine", "hooks")
    assert "hook 'register_layer'" in broken.error
    assert "Argument(s) {'colour'} are declared in the hookimpl" in broken.error


async def test_in_strict_mode_the_plugin_and_the_stage_are_named() -> None:
    with pytest.raises(
        PluginError, match="plugin 'mine' failed at hooks: (?s:.*)'colour'"
    ) as caught:
        opened(strict=True, mine=WrongSignature())
    assert caught.value.plugin == "mine"


async def test_a_wrong_slot_ends_the_start_with_the_nearest_name() -> None:
    mine = FakePlugin(layer=Layer("mine", through, slot="cach"))
    with pytest.raises(ConfigError, match="slot 'cach'.* did you mean 'cache'"):
        async with opened(mine=mine):
            pass


async def test_a_circle_names_those_who_stand_in_it() -> None:
    one = FakePlugin(layer=Layer("one", through, before=("two",)))
    two = FakePlugin(layer=Layer("two", through, before=("one",)))
    with pytest.raises(ConfigError, match="circle: .* drop one of their before/after") as caught:
        async with opened(one=one, two=two):
            pass
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


async def test_a_program_goes_on_without_a_broken_plugin() -> None:
    async with opened(mine=WrongSignature(), fine=FakePlugin()) as argo:

        @argo.wrap(name="quote")
        async def quote(symbol: str) -> str:
            return symbol

        assert await quote("AAPL") == "AAPL"
        assert argo.plugins.names == ["fine"]
