"""The life of layers: opened before the first call, replaced, closed after the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import pytest
from attrs import frozen

from argo_mw import Argo, Closed, ConfigError, Outcome, PluginError
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    Call,
    Context,
    Layer,
    Next,
    Observer,
    hookimpl,
    observes,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle

Book = list[str]

SHORT = 0.05
"""Seconds of real time after which a step of a plugin that hangs is given up."""


@operation(name="slow", timeout=90.0)
def slow() -> object:
    """An operation whose calls may take longer than any other."""


@frozen
class Config:
    level: int = 1
    fail: str = ""
    hang: str = ""


class Living:
    """A middleware whose life is written down."""

    def __init__(self, name: str, book: Book, config: Config) -> None:
        self.name = f"{name} {config.level}"
        self._book = book
        self._config = config
        self.previous: object = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        self._book.append(f"{self.name} called")
        return (await call_next(call)).shaped_by(self.name)

    async def open(self) -> None:
        await self._step("open")

    async def close(self) -> None:
        await self._step("close")

    async def _step(self, what: str) -> None:
        await self.gate.wait()
        if what == self._config.hang:
            await asyncio.Event().wait()
        if what == self._config.fail:
            msg = f"cannot {what}"
            raise RuntimeError(msg)
        self._book.append(f"{self.name} {what}")


class Heir(Living):
    """A middleware that takes over from the one that it replaces."""

    def take_over(self, previous: object) -> None:
        if self._config.fail == "take_over":
            msg = "cannot take_over"
            raise RuntimeError(msg)
        self.previous = previous
        self._book.append(f"{self.name} takes over from {previous.name}")  # type: ignore[attr-defined]


class Plugin:
    """A plugin with layers whose life is written down."""

    def __init__(
        self, name: str, book: Book, kind: type[Living] = Living, parts: Sequence[str] = ("",)
    ) -> None:
        self._name = name
        self._book = book
        self._kind = kind
        self._parts = parts
        self.made: list[Living] = []
        self.prepare: Callable[[Living], None] = lambda middleware: None
        self.heard: list[str] = []

    @hookimpl
    def register_config(self) -> type:
        return Config

    @hookimpl
    def register_layers(self, config: Config) -> Iterable[Layer]:
        layers = []
        for part in self._parts:
            name = f"{self._name}.{part}" if part else self._name
            middleware = self._kind(name, self._book, config)
            self.prepare(middleware)
            self.made.append(middleware)
            layers.append(Layer(name, middleware, before=("race",)))
        return layers

    @hookimpl
    def register_observers(self) -> Iterable[Observer]:
        return [observes(object)(lambda event: self.heard.append(type(event).__name__))]

    @hookimpl
    async def startup(self, config: Config) -> None:
        if config.fail == "startup":
            msg = "cannot start"
            raise RuntimeError(msg)
        self._book.append(f"{self._name} starts")

    @hookimpl
    async def shutdown(self) -> None:
        self._book.append(f"{self._name} stops")


@pytest.fixture
def book() -> Book:
    return []


@pytest.fixture
def upstream() -> Scripted:
    return Scripted("a", ["bars", "slow"])


Configured = Callable[..., dict[str, object]]


def configured(
    *, strict: bool = False, timeout: float = 30.0, **plugins: object
) -> dict[str, object]:
    """A configuration with these tables of plugins."""
    argo = {"shared": "memory://", "startup_timeout": timeout, "strict": strict}
    return {"argo": argo, "plugins": plugins}


@pytest.fixture
def opened(clock: FakeClock, upstream: Scripted) -> Callable[..., Argo]:
    """An application with *plugins* and an upstream for two operations."""
    from tests.core.conftest import bars

    def open_(config: dict[str, object] | None = None, **plugins: object) -> Argo:
        asked = FakePlugin(operations=[bars, slow], upstreams=[upstream])
        return Argo.open(
            config or configured(),
            clock=clock,
            plugins={"asked": asked, **plugins},
            installed=False,
        )

    return open_


async def ask(argo: Argo) -> tuple[str, ...]:
    """The layers that a call went through."""
    return (await argo.outcome("bars", symbol="A")).via


# -- Opening -----------------------------------------------------------------------------------


async def test_layers_are_opened_before_the_first_call(opened, book) -> None:
    async with opened(one=Plugin("one", book)) as argo:
        await ask(argo)
        assert ["one starts", "one 1 open", "one 1 called"] == book


async def test_no_call_is_taken_while_layers_are_being_opened(opened, book) -> None:
    """Another task, or a task that a plugin has started, may have the application already."""
    plugin = Plugin("one", book)
    plugin.prepare = lambda middleware: middleware.gate.clear()
    argo = opened(one=plugin)
    opening = asyncio.create_task(argo.__aenter__())
    await settle()
    with pytest.raises(Closed):
        await ask(argo)
    plugin.made[0].gate.set()
    await opening
    assert ("one 1",) == await ask(argo)
    await argo.aclose()


async def test_a_function_that_is_wrapped_during_the_opening_is_answered(opened, book) -> None:
    plugin = Plugin("one", book)
    plugin.prepare = lambda middleware: middleware.gate.clear()
    argo = opened(one=plugin)
    opening = asyncio.create_task(argo.__aenter__())
    await settle()

    @argo.wrap(name="early")
    async def early() -> str:
        return "answered"

    plugin.made[0].gate.set()
    await opening
    assert "answered" == await early()
    await argo.aclose()


async def test_an_application_is_opened_by_one_task_only(opened, book) -> None:
    argo = opened(one=Plugin("one", book))
    entered = await asyncio.gather(argo.__aenter__(), argo.__aenter__(), return_exceptions=True)
    assert argo in entered
    assert any(isinstance(one, Closed) for one in entered)
    assert ("one 1",) == await ask(argo)
    await argo.aclose()
    assert ["one starts", "one 1 open", "one 1 called", "one 1 close", "one stops"] == book


async def test_an_application_that_is_closed_while_it_opens_closes_what_it_opened(
    opened, book
) -> None:
    plugin = Plugin("one", book)
    plugin.prepare = lambda middleware: middleware.gate.clear()
    argo = opened(one=plugin)
    opening = asyncio.create_task(argo.__aenter__())
    await settle()
    closing = asyncio.create_task(argo.aclose())
    await settle()
    plugin.made[0].gate.set()
    await asyncio.gather(opening, closing)
    assert ["one starts", "one 1 open", "one 1 close", "one stops"] == book
    with pytest.raises(Closed):
        await ask(argo)


async def test_an_opening_that_is_cancelled_closes_what_it_opened(opened, book) -> None:
    plugins = {"one": Plugin("one", book), "two": Plugin("two", book)}
    plugins["two"].prepare = lambda middleware: middleware.gate.clear()
    argo = opened(**plugins)
    opening = asyncio.create_task(argo.__aenter__())
    await settle()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert [
        "one starts",
        "one 1 open",
        "two starts",
        "two stops",
        "one 1 close",
        "one stops",
    ] == book


@pytest.mark.parametrize("how", ["fail", "hang"])
async def test_a_plugin_whose_layer_does_not_open_is_left_out(opened, book, how: str) -> None:
    plugins = {"one": Plugin("one", book, parts=("", "inner")), "two": Plugin("two", book)}
    config = {**configured(timeout=SHORT, one={how: "open"}), "flags": {"one": "on"}}
    async with opened(config, **plugins) as argo:
        assert [("one", "open")] == [(broken.plugin, broken.stage) for broken in argo.broken]
        assert ("two 1",) == await ask(argo)
    expected = {"fail": "cannot open", "hang": "it took longer than 0.05 s"}[how]
    assert expected in argo.broken[0].error
    assert [] == [line for line in book if line.startswith("one 1") or "one.inner" in line]


async def test_a_timeout_of_the_layer_s_own_is_reported_as_it_is(opened, book) -> None:
    class Impatient(Living):
        async def open(self) -> None:
            msg = "the server did not answer"
            raise TimeoutError(msg)

    async with opened(one=Plugin("one", book, Impatient)) as argo:
        assert "TimeoutError: the server did not answer" == argo.broken[0].error


async def test_in_strict_mode_a_layer_that_does_not_open_ends_the_start(opened, book) -> None:
    config = configured(strict=True, one={"fail": "open"})
    argo = opened(config, one=Plugin("one", book), two=Plugin("two", book))
    with pytest.raises(PluginError, match="'one' failed at open: RuntimeError: cannot open"):
        await argo.__aenter__()
    assert ["one starts"] == book


async def test_layers_of_a_plugin_that_does_not_start_are_not_opened(opened, book) -> None:
    async with opened(configured(one={"fail": "startup"}), one=Plugin("one", book)) as argo:
        assert () == await ask(argo)
    assert [] == book


async def test_observers_of_a_plugin_that_was_left_out_hear_nothing(opened, book) -> None:
    plugins = {"one": Plugin("one", book), "two": Plugin("two", book)}
    async with opened(configured(one={"fail": "open"}), **plugins) as argo:
        await ask(argo)
    assert [] == plugins["one"].heard
    assert "CallEnded" in plugins["two"].heard


# -- Several layers of one plugin ---------------------------------------------------------------


async def test_layers_of_one_plugin_share_its_flag(opened, book) -> None:
    plugin = Plugin("one", book, parts=("", "inner"))
    async with opened(one=plugin) as argo:
        assert {"one 1", "one.inner 1"} == set(await ask(argo))
        assert ["one"] == [name for name in engine_of(argo).pipeline.flags if "one" in name]
        await argo.reload({**configured(), "flags": {"one": "off"}})
        assert () == await ask(argo)
        assert [] == [line for line in book if "close" in line]
    assert ["one.inner 1 close", "one 1 close", "one stops"] == book[-3:]


@pytest.mark.parametrize("name", ["two", "two.one", "one.", "oneself", "ONE"])
async def test_layers_bear_the_name_of_their_plugin(opened, name: str) -> None:
    async def through(call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    plugin = FakePlugin(layers=[Layer("one", through), Layer(name, through)])
    async with opened(one=plugin) as argo:
        [broken] = argo.broken
        assert f"its layer is called {name!r}; call it 'one', or one.PART where" in broken.error
        assert () == await ask(argo)


# -- Replacing ---------------------------------------------------------------------------------


async def test_a_layer_takes_over_before_it_is_opened(opened, book) -> None:
    plugin = Plugin("one", book, Heir)
    async with opened(one=plugin) as argo:
        await argo.reload(configured(one={"level": 2}))
        assert ("one 2",) == await ask(argo)
        assert plugin.made[1].previous is plugin.made[0]
    assert [
        "one starts",
        "one 1 open",
        "one 2 takes over from one 1",
        "one 2 open",
        "one 2 called",
        "one 2 close",
        "one stops",
    ] == book


async def test_parts_take_over_from_parts_of_the_same_name(opened, book) -> None:
    async with opened(one=Plugin("one", book, Heir, parts=("", "inner"))) as argo:
        await argo.reload(configured(one={"level": 2}))
    assert [
        "one 2 takes over from one 1",
        "one.inner 2 takes over from one.inner 1",
    ] == [line for line in book if "takes over" in line]


async def test_a_flag_flip_replaces_nothing(opened, book) -> None:
    async with opened(one=Plugin("one", book, Heir)) as argo:
        for state in ("off", "on", "10%", "on"):
            await argo.reload({**configured(), "flags": {"one": state}})
        assert ["one starts", "one 1 open"] == book


async def test_a_replaced_layer_is_closed_once_no_call_can_be_left_in_it(
    opened, book, clock: FakeClock
) -> None:
    async with opened(one=Plugin("one", book)) as argo:
        await argo.reload(configured(one={"level": 2}))
        await clock.advance(2 * slow.timeout)
        assert "one 1 close" not in book
        await clock.advance(0.2 * slow.timeout)
        assert "one 1 close" in book
        assert [] == engine_of(argo).tasks.names
    assert 1 == book.count("one 1 close")
    assert 1 == book.count("one 2 close")


async def test_a_replaced_layer_waits_for_callers_with_longer_timeouts(
    opened, book, clock: FakeClock
) -> None:
    async with opened(one=Plugin("one", book)) as argo:
        argo.options(timeout=1_000.0)
        await argo.reload(configured(one={"level": 2}))
        await clock.advance(2_000.0)
        assert "one 1 close" not in book
        await clock.advance(200.0)
        assert "one 1 close" in book


async def test_a_call_under_way_ends_on_the_layer_that_it_began_with(
    opened, book, upstream: Scripted, clock: FakeClock
) -> None:
    upstream.gate.clear()
    async with opened(one=Plugin("one", book)) as argo:
        under_way = asyncio.create_task(ask(argo))
        await upstream.arrived.wait()
        await argo.reload(configured(one={"level": 2}))
        await clock.advance(20.0)
        assert "one 1 close" not in book
        upstream.gate.set()
        assert ("one 1",) == await under_way
        assert ("one 2",) == await ask(argo)


async def test_a_layer_that_was_replaced_twice_is_closed_by_its_last_owner(
    opened, book, clock: FakeClock
) -> None:
    async with opened(one=Plugin("one", book, Heir)) as argo:
        await argo.reload(configured(one={"level": 2}))
        await argo.reload(configured(one={"level": 3}))
        await clock.advance(200.0)
        assert [] == [line for line in book if "close" in line]
    assert ["one 3 close"] == [line for line in book if "close" in line]


@pytest.mark.parametrize("how", ["fail", "hang"])
async def test_a_layer_that_does_not_open_in_its_predecessor_s_place_is_left_out(
    opened, book, clock: FakeClock, how: str
) -> None:
    """The successor has what its predecessor had, and so it is the one to flush it."""
    plugins = {"one": Plugin("one", book, Heir), "two": Plugin("two", book, Heir)}
    async with opened(configured(timeout=SHORT), **plugins) as argo:
        await argo.reload(configured(one={"level": 2, how: "open"}, two={"level": 2}))
        assert ("two 2",) == await ask(argo)
        assert ["one"] == [broken.plugin for broken in argo.broken]
        await clock.advance(200.0)
        assert ["one 2 close"] == [line for line in book if "close" in line]
    assert ["two 2 close"] == [line for line in book if "close" in line][1:]


async def test_a_layer_that_cannot_take_over_is_left_out_and_its_predecessor_closed(
    opened, book, clock: FakeClock
) -> None:
    plugins = {"one": Plugin("one", book, Heir), "two": Plugin("two", book, Heir)}
    async with opened(**plugins) as argo:
        await argo.reload(configured(one={"level": 2, "fail": "take_over"}, two={"level": 2}))
        assert ("two 2",) == await ask(argo)
        assert [("one", "take_over")] == [(b.plugin, b.stage) for b in argo.broken]
        await clock.advance(200.0)
        assert ["one 1 close"] == [line for line in book if "close" in line]


async def test_a_reload_that_cannot_be_used_opens_and_closes_nothing(opened, book) -> None:
    async with opened(one=Plugin("one", book)) as argo:
        before = list(book)
        with pytest.raises(ConfigError):
            await argo.reload({**configured(one={"level": 2}), "flags": {"nope": "on"}})
        assert before == book
        assert ("one 1",) == await ask(argo)
        await argo.reload()
        assert ("one 1",) == await ask(argo)


# -- While a reload is under way ----------------------------------------------------------------


async def held_up(argo: Argo, plugin: Plugin, level: int) -> asyncio.Task[None]:
    """Begin a reload that is opening a layer until its gate is set."""
    plugin.prepare = lambda middleware: middleware.gate.clear()
    reload = asyncio.create_task(argo.reload(configured(one={"level": level})))
    await settle()
    return reload


async def test_calls_go_through_the_old_layers_until_the_new_are_open(opened, book) -> None:
    plugin = Plugin("one", book)
    async with opened(one=plugin) as argo:
        reload = await held_up(argo, plugin, 2)
        assert ("one 1",) == await ask(argo)
        plugin.made[1].gate.set()
        await reload
        assert ("one 2",) == await ask(argo)


async def test_a_function_that_is_wrapped_during_a_reload_stays_wrapped(opened, book) -> None:
    plugin = Plugin("one", book)
    async with opened(one=plugin) as argo:
        reload = await held_up(argo, plugin, 2)

        @argo.wrap(name="early")
        async def early() -> str:
            return "answered"

        assert "answered" == await early()
        assert "one 1 called" == book[-1], "a layer that is not open yet was entered"
        plugin.made[1].gate.set()
        await reload
        assert "answered" == await early()
        assert "one 2 called" == book[-1]
        assert 2 == len(plugin.made)


async def test_two_reloads_at_once_follow_each_other(opened, book) -> None:
    plugin = Plugin("one", book, Heir)
    async with opened(one=plugin) as argo:
        first = await held_up(argo, plugin, 2)
        second = asyncio.create_task(argo.reload(configured(one={"level": 3})))
        await settle()
        assert 2 == len(plugin.made)
        plugin.prepare = lambda middleware: None
        plugin.made[1].gate.set()
        await asyncio.gather(first, second)
        assert ("one 3",) == await ask(argo)
        assert 3 == argo.settings.plugins["one"]["level"]
    takers = [line for line in book if "takes over" in line]
    assert ["one 2 takes over from one 1", "one 3 takes over from one 2"] == takers


async def test_a_reload_that_is_cancelled_leaves_the_old_layers_in_use(opened, book) -> None:
    plugin = Plugin("one", book)
    async with opened(one=plugin) as argo:
        reload = await held_up(argo, plugin, 2)
        reload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reload
        assert ("one 1",) == await ask(argo)
        assert {} == argo.settings.plugins
    assert ["one 1 close"] == [line for line in book if "close" in line]


async def test_closing_waits_for_a_reload_and_closes_what_it_opened(opened, book) -> None:
    plugin = Plugin("one", book)
    argo = opened(one=plugin)
    await argo.__aenter__()
    reload = await held_up(argo, plugin, 2)
    closing = asyncio.create_task(argo.aclose())
    await settle()
    plugin.made[1].gate.set()
    await asyncio.gather(reload, closing)
    assert {"one 1 close", "one 2 close"} == {line for line in book if "close" in line}
    with pytest.raises(Closed):
        await ask(argo)
    with pytest.raises(Closed):
        await argo.reload()


# -- Closing -----------------------------------------------------------------------------------


async def test_layers_and_plugins_stop_in_reverse_order(opened, book) -> None:
    plugins = {name: Plugin(name, book, parts=("", "inner")) for name in ("b", "a")}
    async with opened(**plugins):
        book.clear()
    assert [
        "b.inner 1 close", "b 1 close", "b stops", "a.inner 1 close", "a 1 close", "a stops",
    ] == book  # fmt: skip


@pytest.mark.parametrize("how", ["fail", "hang"])
async def test_a_layer_that_does_not_close_holds_no_other_up(opened, book, how: str) -> None:
    plugins = {"one": Plugin("one", book), "two": Plugin("two", book)}
    async with opened(configured(timeout=SHORT, two={how: "close"}), **plugins) as argo:
        pass
    assert ["one 1 close", "one stops"] == book[-2:]
    assert [("two", "close")] == [(broken.plugin, broken.stage) for broken in argo.broken]


async def test_layers_that_wait_to_be_closed_are_closed_at_shutdown(opened, book) -> None:
    async with opened(one=Plugin("one", book)) as argo:
        await argo.reload(configured(one={"level": 2}))
    assert ["one 2 close", "one 1 close", "one stops"] == book[-3:]


async def test_shutdown_waits_for_a_layer_that_is_being_closed(
    opened, book, clock: FakeClock
) -> None:
    plugin = Plugin("one", book)
    argo = opened(one=plugin)
    await argo.__aenter__()
    await argo.reload(configured(one={"level": 2}))
    plugin.made[0].gate.clear()
    await clock.advance(200.0)
    closing = asyncio.create_task(argo.aclose())
    await settle()
    plugin.made[0].gate.set()
    await closing
    assert ["one 1 close", "one 2 close", "one stops"] == book[-3:]


async def test_no_call_is_taken_once_layers_are_being_closed(opened, book) -> None:
    plugin = Plugin("one", book)
    argo = opened(one=plugin)
    await argo.__aenter__()
    plugin.made[0].gate.clear()
    closing = asyncio.create_task(argo.aclose())
    await settle()
    with pytest.raises(Closed):
        await ask(argo)
    plugin.made[0].gate.set()
    await closing
    assert "one 1 called" not in book


# -- What a plugin brings beside layers -----------------------------------------------------------


async def test_a_function_may_be_wrapped_under_the_name_of_a_plugin(opened, book) -> None:
    async with opened(one=Plugin("one", book)) as argo:

        @argo.wrap(name="one")
        async def one() -> str:
            return "answered"

        assert "answered" == await one()
        assert ("one 1",) == await ask(argo)
        assert "one 1 called" == book[-1]
    assert "one 1 close" in book


@pytest.mark.parametrize(
    ("data_types", "data_type", "message"),
    [
        (["weather"], "wether", "operation 'forecast' names data type 'wether', .* mean 'weather'"),
        ([], "weather", "which does not exist: known are none"),
    ],
)
async def test_data_types_must_be_registered(
    opened, data_types: list[str], data_type: str, message: str
) -> None:
    declared = operation(name="forecast", data_type=data_type)(lambda: None)
    plugins = {
        "sky": FakePlugin(operations=[declared]),
        "types": FakePlugin(data_types=data_types),
    }
    with pytest.raises(ConfigError, match=message):
        async with opened(**plugins):
            pass


async def test_a_data_type_may_be_registered_by_another_plugin(opened) -> None:
    declared = operation(name="forecast", data_type="weather")(lambda: None)
    plugins = {
        "sky": FakePlugin(operations=[declared]),
        "types": FakePlugin(data_types=["weather"]),
    }
    async with opened(**plugins) as argo:
        assert "weather" == engine_of(argo).pipeline.operations["forecast"].data_type


async def test_a_function_of_an_unknown_data_type_cannot_be_wrapped(opened) -> None:
    async with opened(types=FakePlugin(data_types=["weather"])) as argo:
        with pytest.raises(ConfigError, match="data type 'wether', .* did you mean 'weather'"):

            @argo.wrap(name="forecast", data_type="wether")
            async def forecast() -> str:
                return "rain"

        await argo.reload()


async def test_a_context_is_given_once_for_the_life_of_an_application(opened) -> None:
    contexts: list[Context] = []

    class Keeping:
        @hookimpl
        def register_layers(self, context: Context) -> Iterable[Layer]:
            contexts.append(context)
            return []

        @hookimpl
        def register_config(self) -> type:
            return Config

    async with opened(one=Keeping()) as argo:
        await argo.reload(configured(one={"level": 2}))
    assert 2 == len(contexts)
    assert contexts[0] is contexts[1]
