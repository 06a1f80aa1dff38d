"""Errors for a plugin's author: what is wrong, where, and what to do about it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint

import pytest

from argo_mw import Argo, ConfigError, Outcome, PluginError
from argo_mw.app.application import engine_of
from argo_mw.plugin import Batching, Call, Layer, Next, Upstream, hookimpl, hookspec
from argo_mw.registry import Plugins, discovery
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw.testing import FakeClock, FakePlugin, Scripted


async def through(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)


class WrongSignature:
    @hookimpl
    def register_layers(self, colour: object) -> Iterable[Layer]:
        raise NotImplementedError


class NearlyRight:
    @hookimpl
    def register_layers(self, configs: object, context: object) -> Iterable[Layer]:
        raise NotImplementedError


class Misspelt:
    @hookimpl
    def register_layer(self, config: object) -> None: ...


class Foreign:
    @hookimpl
    def paint_the_town(self) -> None: ...


def opened(strict: bool = False, **plugins: object) -> Argo:
    settings = {"argo": {"shared": "memory://", "strict": strict}}
    return Argo.open(settings, plugins=plugins, installed=False, clock=FakeClock())


def error_of(plugin: object) -> str:
    """Return why *plugin*, the only one, is left out when it is loaded."""
    [broken] = Plugins.load(installed=False, extra={"mine": plugin}).broken
    assert (broken.plugin, broken.stage) == ("mine", "hooks")
    return broken.error


# -- Hooks --------------------------------------------------------------------------------------


def test_a_wrong_argument_is_shown_beside_the_hook_s_own() -> None:
    expected = (
        "its register_layers(colour) asks for 'colour', which hook 'register_layers' does not offer: "
        "register_layers(config, context) is all there is; name only those that it needs, or none"
    )
    assert error_of(WrongSignature()) == expected


def test_a_misspelt_argument_gets_the_nearest_one() -> None:
    expected = (
        "its register_layers(configs, context) asks for 'configs', which hook 'register_layers' does "
        "not offer: register_layers(config, context) is all there is; did you mean 'config'?"
    )
    assert error_of(NearlyRight()) == expected


def test_a_misspelt_hook_gets_the_nearest_one() -> None:
    expected = (
        "it implements hook 'register_layer', which does not exist; did you mean 'register_layers'?"
    )
    assert error_of(Misspelt()) == expected


def test_a_hook_that_is_like_no_other_may_be_an_absent_plugin_s() -> None:
    expected = (
        "it implements hook 'paint_the_town', which does not exist: see the reference of hooks; for "
        "a hook of another plugin, which may be missing, mark it with @hookimpl(optionalhook=True)"
    )
    assert error_of(Foreign()) == expected


async def test_in_strict_mode_the_plugin_and_the_stage_are_named() -> None:
    with pytest.raises(
        PluginError, match="plugin 'mine' failed at hooks: its .*'colour'"
    ) as caught:
        opened(strict=True, mine=WrongSignature())
    assert caught.value.plugin == "mine"


class Specs:
    @hookspec
    def register_colours(self, shade: str) -> list[str]: ...


class Specifying:
    @hookimpl
    def register_hookspecs(self) -> object:
        return Specs


class WrongShade:
    @hookimpl(optionalhook=True)
    def register_colours(self, shades: str) -> list[str]:
        raise NotImplementedError


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_plugin_that_misimplements_a_hook_is_left_out_itself(name: str) -> None:
    """Not the plugin that the hook belongs to, in either order of loading."""
    extra = {"specs": Specifying(), name: WrongShade()}
    plugins = Plugins.load(installed=False, extra=extra)
    assert plugins.names == ["specs"]
    expected = (
        "its register_colours(shades) asks for 'shades', which hook 'register_colours' does not "
        "offer: register_colours(shade) is all there is; did you mean 'shade'?"
    )
    assert [(b.plugin, b.error) for b in plugins.broken] == [(name, expected)]


# -- Answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "answer", "expected"),
    [
        ("register_layers", through, "the function through; it must return an iterable of"),
        ("register_config", {}, "a value of type dict; it must return an attrs class"),
        ("register_operations", through, "the function through; it must return an iterable of"),
        ("register_operations", ["bars"], "something that holds a value of type str; it must"),
        ("register_flags", "mine.part", "a value of type str; it must return an iterable of names"),
        ("register_upstreams", [Layer], "something that holds the class Layer; it must return an"),
        ("startup", 1, "a value of type int; it must return an awaitable: write `async def`"),
    ],
)
async def test_a_wrong_answer_leaves_its_plugin_out(
    hook: str, answer: object, expected: str
) -> None:
    async with opened(mine=answering(hook, lambda: answer), fine=FakePlugin()) as argo:
        assert engine_of(argo).plugins.names == ["fine"]
        [broken] = argo.broken
    assert (broken.plugin, broken.stage) == ("mine", hook)
    assert broken.error.startswith(f"{hook} returned {expected}")


def answering(hook: str, answer: object) -> object:
    """A plugin whose *hook* is the function *answer*."""
    return type("Answering", (), {hook: staticmethod(hookimpl(answer))})()  # type: ignore[call-overload]


async def test_an_async_function_where_a_plain_one_belongs_is_named() -> None:
    async def answer() -> object:
        raise NotImplementedError

    async with opened(mine=answering("register_layers", answer)) as argo:
        [broken] = argo.broken
    expected = (
        "register_layers is an async function; it must be a plain one that returns an iterable of "
        "argo_mw.plugin.Layer"
    )
    assert broken.error == expected


class Guarding:
    """A guard of the right form, but for what a test changes."""

    name = "mine"

    async def reserve(self, request: object) -> None: ...

    def settle(self, request: object, result: object) -> None: ...

    async def release(self, request: object) -> None: ...


class PlainReserve(Guarding):
    def reserve(self, request: object) -> None: ...  # type: ignore[override]


class PlainCall:
    def __call__(self, call: object, call_next: object) -> object: ...


def plain(*_: object) -> object: ...


async def fine(*_: object) -> object: ...


@pytest.mark.parametrize(
    ("hook", "answer", "what"),
    [
        ("register_layers", lambda: Layer("mine", plain), "the middleware of its layer 'mine'"),
        ("register_layers", lambda: Layer("mine", partial(plain, 1)), "the middleware of its"),
        ("register_layers", lambda: Layer("mine", PlainCall()), "the middleware of its layer"),
        ("register_layers", lambda: Layer("mine", lambda a, b: b(a)), "the middleware of its"),
        ("register_upstreams", lambda: Upstream("u", ["bars"], plain), "fetch of its upstream 'u'"),
        (
            "register_upstreams",
            lambda: Upstream("u", ["bars"], fine, batching=Batching(plain)),
            "fetch_many of its upstream 'u'",
        ),
        ("register_guards", PlainReserve, "reserve of its guard 'mine'"),
    ],
)
async def test_a_plain_function_that_would_be_awaited_is_refused(
    hook: str, answer: Callable[[], object], what: str
) -> None:
    """When it is registered, not at the first call."""
    asked = FakePlugin(upstreams=[Scripted("a", [])])
    mine = answering(hook, lambda: [answer()])
    async with opened(mine=mine, asked=asked) as argo:
        [broken] = argo.broken
    assert ("mine", hook) == (broken.plugin, broken.stage)
    assert broken.error.startswith(what)
    assert broken.error.endswith(" is a plain function, and is awaited: write `async def`")


def returning(call: object, call_next: object) -> Coroutine[object, object, object]:
    return fine(call, call_next)


@functools.wraps(fine)
def wrapping(*arguments: object) -> object:
    return fine(*arguments)


@pytest.mark.parametrize("function", [fine, partial(fine, 1), returning, wrapping])
async def test_whatever_returns_what_can_be_awaited_may_be_registered(function) -> None:
    mine = FakePlugin(layer=Layer("mine", function))
    async with opened(mine=mine) as argo:
        assert () == argo.broken


async def test_a_flag_without_its_plugin_s_name_leaves_the_plugin_out() -> None:
    mine = answering("register_flags", lambda: ["mine.part", "cache"])
    async with opened(mine=mine) as argo:
        assert {} == engine_of(argo).pipeline.flags
        assert ["it registers flag 'cache'; write 'mine.cache'"] == [b.error for b in argo.broken]


async def test_a_generator_that_fails_half_way_leaves_its_plugin_out() -> None:
    def answer() -> Iterator[str]:
        yield "mine.part"
        msg = "half way"
        raise ValueError(msg)

    async with opened(mine=answering("register_flags", answer)) as argo:
        assert [b.error for b in argo.broken] == ["ValueError: half way"]


# -- Places -------------------------------------------------------------------------------------


async def test_a_wrong_slot_ends_the_start_with_the_nearest_name() -> None:
    mine = FakePlugin(layer=Layer("mine", through, slot="cach"))
    with pytest.raises(ConfigError, match="slot 'cach'.* did you mean 'cache'"):
        async with opened(mine=mine):
            pass


async def test_a_cycle_names_its_layers() -> None:
    one = FakePlugin(layer=Layer("one", through, before=("two",)))
    two = FakePlugin(layer=Layer("two", through, before=("one",)))
    with pytest.raises(ConfigError, match="cycle: .* drop one of their before/after") as caught:
        async with opened(one=one, two=two):
            pass
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


# -- Distributions ------------------------------------------------------------------------------


def loaded_among(
    monkeypatch: pytest.MonkeyPatch, name: str, *distributions: str, **load: object
) -> tuple[Plugins, list[str]]:
    """Return the plugins when *distributions* all claim *name*, and which of them were imported."""
    imported: list[str] = []

    class Loading(EntryPoint):
        def load(self) -> object:
            imported.append(self.value)
            return FakePlugin()

    found = [
        InstalledPlugin(name, Loading(name, distribution, "argo_mw"), distribution)
        for distribution in sorted(distributions)
    ]
    monkeypatch.setattr(discovery, "discover", lambda: found)
    return Plugins.load(**load), imported  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "thief", ["aaa 1", "argo-mw-a 9", "argo-mw-cache-extra 2", "zzz 1", "unknown distribution"]
)
@pytest.mark.parametrize("owner", ["argo-mw-adaptive-ttl 1.0", "argo_mw.Adaptive_TTL 1.0"])
def test_who_takes_a_known_plugin_s_name_is_refused_however_it_is_sorted(
    monkeypatch: pytest.MonkeyPatch, thief: str, owner: str
) -> None:
    plugins, imported = loaded_among(monkeypatch, "adaptive_ttl", thief, owner)
    assert [owner] == imported
    assert owner == plugins.origin("adaptive_ttl")
    expected = (
        f"the name 'adaptive_ttl' is taken by the plugin from {owner}; the plugin from {thief} is "
        "not used: uninstall one of them, or rename its entry point"
    )
    assert [expected] == [b.error for b in plugins.broken]


def test_of_two_that_claim_a_name_which_is_neither_s_none_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugins, imported = loaded_among(monkeypatch, "mine", "a 1", "b 1")
    assert ([], []) == (imported, plugins.names)
    expected = (
        "the name 'mine' is claimed by b 1 too, and is that of neither; the plugin from a 1 is not "
        "used: uninstall one of them, or rename its entry point"
    )
    assert expected == plugins.broken[0].error
    assert 2 == len(plugins.broken)


def test_one_that_alone_has_a_name_may_have_any_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugins, imported = loaded_among(monkeypatch, "mine", "acme-desk 1")
    assert (["acme-desk 1"], []) == (imported, plugins.broken)


def test_a_taken_name_stops_the_start_in_strict_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginError, match="the plugin from aaa 1 is not used"):
        loaded_among(monkeypatch, "cache", "aaa 1", "argo-mw-cache 1", strict=True)


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3)])
def test_a_plugin_class_that_cannot_be_made_is_left_out(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    class Unmade:
        def __init__(self) -> None:
            raise error

    class Loading(EntryPoint):
        def load(self) -> object:
            return Unmade

    found = InstalledPlugin("mine", Loading("mine", "x", "argo_mw"), "argo-mw-mine 1")
    monkeypatch.setattr(discovery, "discover", lambda: [found])
    [broken] = Plugins.load().broken
    assert (broken.stage, broken.error) == ("import", f"{type(error).__name__}: {error}")


# -- The rest -----------------------------------------------------------------------------------


async def test_a_program_goes_on_without_a_broken_plugin() -> None:
    async with opened(mine=WrongSignature(), fine=FakePlugin()) as argo:

        @argo.wrap(name="quote", subject="symbol")
        async def quote(symbol: str) -> str:
            return symbol

        assert await quote("AAPL") == "AAPL"
        assert engine_of(argo).plugins.names == ["fine"]


async def test_an_explanation_that_fails_is_explained() -> None:
    class Silent:
        async def __call__(self, call: Call, call_next: Next) -> Outcome:
            return await call_next(call)

        def explain(self, call: Call) -> str:
            msg = "no words"
            raise ValueError(msg)

    mine = FakePlugin(layer=Layer("mine", Silent()))
    argo = opened(mine=mine)

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> str:
        return symbol

    async with argo:
        layer, _ = argo.explain("quote", symbol="AAPL")
    assert "cannot explain itself: ValueError: no words" == layer.text
