"""Plugins are found, checked, loaded and asked, each apart from the others."""

from __future__ import annotations

import asyncio
import inspect
import types
from importlib.metadata import EntryPoint

import pytest
from attrs import frozen

from argo_mw import Argo, ConfigError, PluginError
from argo_mw.app.application import engine_of
from argo_mw.plugin import Layer, hookimpl, hookspec, operation
from argo_mw.registry import Plugins, answers, discovery, hooks
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw.testing import FakeClock, FakePlugin, Scripted


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


@frozen
class Config:
    level: int = 1


class Fine:
    @hookimpl
    def register_config(self) -> type:
        return Config

    @hookimpl
    def register_flags(self) -> list[str]:
        return ["fine.part"]


class Misspelt:
    @hookimpl
    def register_layrs(self, config: object) -> None: ...


class WrongArgument:
    @hookimpl
    def register_layers(self, colour: object) -> None: ...


class Raising:
    @hookimpl
    def register_operations(self) -> None:
        msg = "cannot"
        raise ValueError(msg)


class Specs:
    @hookspec
    def register_colours(self, shade: str) -> list[str]: ...


class Specifying:
    @hookimpl
    def register_hookspecs(self) -> object:
        return Specs


class Colouring:
    @hookimpl
    def register_colours(self, shade: str) -> list[str]:
        return [f"{shade} blue"]


def entry(name: str, load: object) -> InstalledPlugin:
    class Fake(EntryPoint):
        def load(self) -> object:
            if isinstance(load, Exception):
                raise load
            return load

    return InstalledPlugin(name, Fake(name, "some.module", "argo_mw"), f"argo-mw-{name} 1.0")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    def install(*found: InstalledPlugin) -> None:
        monkeypatch.setattr(discovery, "discover", lambda: list(found))

    return install


def test_installed_plugins_are_loaded_and_know_their_origin(installed) -> None:
    installed(entry("fine", Fine), entry("colours", Specifying()))
    plugins = Plugins.load()
    assert plugins.names == ["colours", "fine"]
    assert plugins.origin("fine") == "argo-mw-fine 1.0"
    assert plugins.config_class("fine") is Config


def test_a_broken_plugin_is_left_out_and_reported(installed) -> None:
    installed(entry("bad", ImportError("no such module")), entry("fine", Fine))
    plugins = Plugins.load()
    assert plugins.names == ["fine"]
    assert [(b.plugin, b.stage) for b in plugins.broken] == [("bad", "import")]
    assert "ImportError: no such module" in plugins.broken[0].error


def test_strict_mode_raises_instead(installed) -> None:
    installed(entry("bad", ImportError("no such module")))
    with pytest.raises(PluginError, match="plugin 'bad' failed at import: ImportError") as caught:
        Plugins.load(strict=True)
    assert caught.value.plugin == "bad"


def test_a_blocked_plugin_is_never_imported(installed) -> None:
    installed(entry("bad", SystemExit()), entry("fine", Fine))
    assert Plugins.load(block=["bad"]).names == ["fine"]


def test_blocking_what_is_not_there_is_an_error(installed) -> None:
    installed(entry("fine", Fine))
    with pytest.raises(ConfigError, match="'fien', which is not installed: did you mean 'fine'"):
        Plugins.load(block=["fien"])


def test_a_hook_that_nobody_calls_is_an_error_with_a_hint() -> None:
    plugins = Plugins.load(installed=False, extra={"typo": Misspelt(), "fine": Fine()})
    assert plugins.names == ["fine"]
    expected = (
        "it implements hook 'register_layrs', which does not exist; did you mean 'register_layers'?"
    )
    assert plugins.broken[0].error == expected


def test_a_wrong_argument_is_named() -> None:
    plugins = Plugins.load(installed=False, extra={"wrong": WrongArgument()})
    assert plugins.names == []
    assert "colour" in plugins.broken[0].error


def test_a_plugin_s_hooks_can_be_implemented_by_others() -> None:
    extra = {"a": Colouring(), "specs": Specifying()}
    plugins = Plugins.load(installed=False, extra=extra)
    assert plugins.broken == []
    assert plugins.collect("register_colours", shade="dark") == {"a": ["dark blue"]}


def test_a_name_is_taken_once() -> None:
    plugins = Plugins.load(installed=False, extra={"fine": Fine()})
    plugins.add("fine", Fine())
    assert plugins.names == ["fine"]
    assert "the name 'fine' is taken by the plugin given by the program" in plugins.broken[0].error


def test_a_raising_hook_leaves_its_plugin_out() -> None:
    plugins = Plugins.load(installed=False, extra={"bad": Raising(), "fine": Fine()})
    assert plugins.call("bad", "register_operations") is None
    assert plugins.names == ["fine"]
    assert plugins.call("bad", "register_operations") is None


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"fien": {}}, r"argo.toml \[plugins.fien\] names plugin 'fien', .* did you mean 'fine'"),
        ({"fine": {"level": "x"}}, r"argo.toml \[plugins.fine\]: level: expected a whole number"),
        ({"plain": {"a": 1}}, "plugin 'plain' has no configuration; remove the table"),
    ],
)
def test_tables_are_checked_against_the_plugins(tables, message: str) -> None:
    plugins = Plugins.load(installed=False, extra={"fine": Fine(), "plain": FakePlugin()})
    with pytest.raises(ConfigError, match=message):
        plugins.configs(tables, "argo.toml")


# -- In an application -------------------------------------------------------------------------


class Living:
    """A plugin whose life is written down."""

    def __init__(self, book: list[str], name: str, *, fail: str = "", hang: str = "") -> None:
        self._book, self._name, self._fail, self._hang = book, name, fail, hang

    async def _act(self, what: str) -> None:
        if self._hang == what:
            await asyncio.Event().wait()
        if self._fail == what:
            raise RuntimeError(what)
        self._book.append(f"{what} {self._name}")

    @hookimpl
    def register_config(self) -> type:
        return Config

    @hookimpl
    async def startup(self) -> None:
        await self._act("start")

    @hookimpl
    async def config_changed(self, config: Config) -> None:
        await self._act(f"level {config.level} of")

    @hookimpl
    async def shutdown(self) -> None:
        await self._act("stop")


def living(*plugins: tuple[str, object], **argo: object) -> Argo:
    config = {"argo": {"shared": "memory://", "startup_timeout": 0.05, **argo}}
    return Argo.open(config, clock=FakeClock(), plugins=dict(plugins), installed=False)


async def test_plugins_start_by_name_and_stop_in_reverse() -> None:
    book: list[str] = []
    async with living(("b", Living(book, "b")), ("a", Living(book, "a"))):
        pass
    assert book == ["start a", "start b", "stop b", "stop a"]


async def test_a_plugin_learns_of_its_own_changes_only() -> None:
    book: list[str] = []
    async with living(("a", Living(book, "a")), ("b", Living(book, "b"))) as argo:
        base = {"argo": {"shared": "memory://"}}
        await argo.reload({**base, "plugins": {"a": {"level": 2}}})
        await argo.reload({**base, "plugins": {"a": {"level": 2}}})
    assert [line for line in book if "level" in line] == ["level 2 of a"]


async def test_a_plugin_that_fails_at_a_change_stays_in_use_and_is_stopped() -> None:
    book: list[str] = []
    async with living(("a", Living(book, "a", fail="level 2 of"))) as argo:
        await argo.reload({"argo": {"shared": "memory://"}, "plugins": {"a": {"level": 2}}})
        assert [broken.stage for broken in argo.broken] == ["config_changed"]
        assert set(engine_of(argo).pipeline.contributions) == {"a"}
    assert book == ["start a", "stop a"]


@pytest.mark.parametrize("how", ["fail", "hang"])
async def test_a_plugin_that_does_not_start_is_left_out(how: str) -> None:
    book: list[str] = []
    broken = Living(book, "b", **{how: "start"})
    async with living(("a", Living(book, "a")), ("b", broken)) as argo:
        assert [b.plugin for b in argo.broken] == ["b"]
        assert set(engine_of(argo).pipeline.contributions) == {"a"}
    assert book == ["start a", "stop a"]


async def test_a_plugin_that_does_not_stop_holds_nobody_up() -> None:
    book: list[str] = []
    async with living(("a", Living(book, "a")), ("b", Living(book, "b", hang="stop"))):
        pass
    assert book == ["start a", "start b", "stop a"]


async def test_a_layer_must_have_its_plugin_s_name() -> None:
    async def through(call, call_next):
        return await call_next(call)

    plugin = FakePlugin(layers=[Layer("mine.inner", through), Layer("other", through)])
    async with living(("mine", plugin)) as argo:
        expected = "its layer is called 'other'; call it 'mine', or mine.PART where"
        assert expected in argo.broken[0].error


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"operations": {"brs": {}}}, r"\[operations.brs\] names operation 'brs', .* mean 'bars'"),
        ({"upstreams": {"alpca": {}}}, "names upstream 'alpca', .* did you mean 'alpaca'"),
        ({"operations": {"bars": {"upstreams": ["massive"]}}}, "names upstream 'massive'"),
        ({"operations": {"bars": {"upstreams": ["alpaca"] * 2}}}, "names 'alpaca' twice"),
    ],
)
async def test_names_in_the_configuration_must_exist_and_stand_once(
    open_argo, config, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        async with open_argo(Scripted("alpaca", ["bars"]), config=config):
            pass


async def test_two_plugins_cannot_offer_the_same(open_argo) -> None:
    twin = FakePlugin(operations=[bars])
    with pytest.raises(ConfigError, match="two plugins offer the operation 'bars'"):
        async with open_argo(plugins={"twin": twin}):
            pass
    twin = FakePlugin(upstreams=[Scripted("a", ["bars"])])
    with pytest.raises(ConfigError, match="two upstreams are called 'a'"):
        async with open_argo(Scripted("a", ["bars"]), plugins={"twin": twin}):
            pass


# -- Hooks that are not marked -------------------------------------------------------------------


class Unmarked:
    @hookimpl
    def register_config(self) -> type:
        return Config

    def register_layers(self, config: Config) -> list[Layer]:
        raise NotImplementedError


class Overriding(Fine):
    def register_flags(self) -> list[str]:
        raise NotImplementedError


class Static:
    @staticmethod
    def register_guards() -> None: ...


class OfAnother:
    """Implements a hook of another plugin."""

    def register_colours(self, shade: str) -> list[str]:
        raise NotImplementedError


def module_with(**content: object) -> types.ModuleType:
    module = types.ModuleType("a_plugin")
    for name, value in content.items():
        setattr(module, name, value)
    return module


def own_shutdown() -> None: ...


own_shutdown.__module__ = "a_plugin"


@pytest.mark.parametrize(
    ("plugin", "hook"),
    [
        (Unmarked, "register_layers"),
        (Overriding(), "register_flags"),
        (Static, "register_guards"),
        (OfAnother(), "register_colours"),
        (module_with(shutdown=own_shutdown), "shutdown"),
    ],
)
def test_a_hook_that_is_not_marked_is_an_error_with_the_remedy(plugin: object, hook: str) -> None:
    plugins = Plugins.load(installed=False, extra={"mine": plugin, "specs": Specifying()})
    assert ["specs"] == plugins.names
    expected = (
        f"its {hook} has the name of a hook and is not marked, so nothing would ever call it: "
        "mark it with @hookimpl, or rename it"
    )
    assert [("mine", "hooks", expected)] == [(b.plugin, b.stage, b.error) for b in plugins.broken]


def test_what_only_looks_like_a_hook_is_left_alone() -> None:
    class Fields:
        startup = "early"
        diagnose = None

    imported = module_with(shutdown=asyncio.run, register_config=hookimpl(lambda: Config))
    plugins = Plugins.load(installed=False, extra={"fields": Fields(), "module": imported})
    assert [] == plugins.broken


# -- Blocked plugins -----------------------------------------------------------------------------


BLOCKED = {"argo": {"shared": "memory://", "block": ["fine"]}}


@pytest.mark.parametrize(
    "written",
    [
        {"flags": {"fine": "off", "fine.part": "10%"}},
        {"plugins": {"fine": {"level": 2}}},
    ],
)
async def test_what_is_set_for_a_blocked_plugin_is_no_mistake(written) -> None:
    plugins = {"fine": Fine(), "other": FakePlugin()}
    argo = Argo.open({**BLOCKED, **written}, plugins=plugins, installed=False, clock=FakeClock())
    async with argo:
        assert ("fine",) == engine_of(argo).plugins.blocked
        assert ["other"] == engine_of(argo).plugins.names


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"upstreams": {"alpaca": {"retries": 1}}}, "blocked or left out: fine"),
        ({"operations": {"news": {"timeout": 1}}}, "blocked or left out: fine"),
        ({"operations": {"bars": {"upstreams": ["alpaca"]}}}, "blocked or left out: fine"),
        ({"operations": {"barrs": {"timeout": 1}}}, r"did you mean 'bars'\? Plugins that may"),
        ({"flags": {"upstream.alpaca": "off"}}, "blocked or left out: fine"),
    ],
)
async def test_a_name_that_a_blocked_plugin_may_bring_says_so(written, message: str) -> None:
    asked = FakePlugin(operations=[bars], upstreams=[Scripted("sandbox", ["bars"])])
    plugins = {"asked": asked, "fine": Fine()}
    argo = Argo.open({**BLOCKED, **written}, plugins=plugins, installed=False, clock=FakeClock())
    with pytest.raises(ConfigError, match=message):
        async with argo:
            pass


async def test_a_rollback_of_a_blocked_plugin_says_what_is_blocked() -> None:
    argo = Argo.open(BLOCKED, plugins={"fine": Fine()}, installed=False, clock=FakeClock())
    async with argo:
        with pytest.raises(ConfigError, match="plugin 'fine' is not in use; see block in"):
            await argo.roll_back("fine", "why not")


def test_what_every_hook_returns_is_checked() -> None:
    hooks_ = {
        name: inspect.signature(hook).return_annotation
        for name, hook in vars(hooks).items()
        if hasattr(hook, "argo_mw_spec")
    }
    unchecked = {name for name in hooks_ if name not in answers._ONE | answers._SEVERAL}
    assert len(hooks_) > 20
    assert {"None", "object"} == {hooks_[name] for name in unchecked}
    several = {name for name, wanted in hooks_.items() if wanted.startswith("Iterable[")}
    assert several == set(answers._SEVERAL)
