"""The application object, wrapped functions, the blocking facade, explanations, observers."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from copy import deepcopy
from pathlib import Path

import pytest

from argo_mw import (
    Argo,
    ArgoError,
    BadParameter,
    BlockingArgo,
    Closed,
    ConfigError,
    Outcome,
    PluginError,
    UnknownOperation,
)
from argo_mw.app.application import engine_of
from argo_mw.plugin import (
    Action,
    Call,
    CallEnded,
    Context,
    Event,
    Events,
    Guard,
    Layer,
    LayerActed,
    Next,
    Reconfigured,
    Trouble,
    Upstream,
    UpstreamError,
    context_of,
    hookimpl,
    observe,
    observes,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events

MEMORY = {"argo": {"shared": "memory://"}}


async def test_a_closed_application_answers_nothing(open_argo) -> None:
    argo = open_argo(Scripted("a", ["bars"]))
    with pytest.raises(Closed, match="use it inside `async with Argo.open"):
        await argo.call("bars", symbol="A")
    async with argo:
        await argo.call("bars", symbol="A")
    with pytest.raises(Closed):
        await argo.call("bars", symbol="A")
    await argo.aclose()


async def test_an_unknown_operation_is_named_with_a_hint(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        with pytest.raises(UnknownOperation, match="'brs', .* did you mean 'bars'"):
            await argo.call("brs", symbol="A")


async def test_the_default_application_needs_no_server(tmp_path: Path) -> None:
    async with Argo.open({}, installed=False) as argo:
        state = context_of(argo).state_dir
    assert state == tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert (state / "shared.db").exists()


def test_a_state_directory_that_cannot_be_made_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(blocker / "state"))

    async def run() -> None:
        async with Argo.open(MEMORY, installed=False):
            pass

    with pytest.raises(ConfigError, match="state directory .* cannot be made"):
        asyncio.run(run())


async def test_an_unknown_store_is_explained() -> None:
    with pytest.raises(ConfigError, match="no driver for the shared store redsi://"):
        async with Argo.open({"argo": {"shared": "redsi://x"}}, installed=False):
            pass


async def test_changing_nothing_reuses_every_part(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        before = engine_of(argo).pipeline
        await argo.reload()
        after = engine_of(argo).pipeline
    assert after is not before
    assert after.contributions["asked"] is before.contributions["asked"]
    assert after.upstreams["a"] is before.upstreams["a"]


async def test_calls_under_way_finish_on_the_build_they_began_with(open_argo) -> None:
    upstream = Scripted("a", ["bars"])
    upstream.gate.clear()

    async def shout(call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by("cache")

    async with open_argo(upstream, layers=(Layer("cache", shout, slot="cache"),)) as argo:
        task = asyncio.create_task(argo.outcome("bars", symbol="A"))
        await upstream.arrived.wait()
        await argo.reload({**MEMORY, "flags": {"cache": "off"}})
        upstream.gate.set()
        assert (await task).via == ("cache",)
        assert (await argo.outcome("bars", symbol="A")).via == ()


async def test_the_configuration_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\ntenant = "acme"')
    async with Argo.open(file, installed=False) as argo:
        assert argo.settings.argo.tenant == "acme"
        file.write_text('[argo]\nshared = "memory://"\ntenant = "other"')
        await argo.reload(file)
        assert argo.settings.argo.tenant == "other"


# -- Wrapped functions -------------------------------------------------------------------------


async def test_any_async_function_goes_behind_the_chain() -> None:
    argo = Argo.open(MEMORY, installed=False)
    asked = []

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str, venue: str = "XNYS") -> tuple[str, str]:
        """The price of a symbol."""
        asked.append(symbol)
        return symbol, venue

    async with argo:
        assert await quote("AAPL") == ("AAPL", "XNYS")
        outcome = await argo.outcome("quote", symbol="MSFT")

        @argo.wrap()
        async def late(n: int) -> int:
            return n + 1

        assert await late(n=1) == 2
    assert outcome.tags == {"op:quote", "subject:MSFT"}
    assert asked == ["AAPL", "MSFT"]
    assert quote.__doc__ == "The price of a symbol."


async def test_what_a_wrapped_function_raises_reaches_its_caller() -> None:
    argo = Argo.open(MEMORY, installed=False)

    @argo.wrap(subject="symbol")
    async def broken(symbol: str) -> None:
        msg = f"no {symbol}"
        raise ValueError(msg)

    async with argo:
        with pytest.raises(ValueError, match="no AAPL"):
            await broken("AAPL")
        with pytest.raises(TypeError, match="missing a required argument"):
            await broken()


async def test_a_wrapped_function_may_take_whatever_has_a_name() -> None:
    argo = Argo.open(MEMORY, installed=False)

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str, *, n: int = 1, **more: object) -> object:
        return symbol, n, more

    async with argo:
        assert ("A", 2, {"venue": "X"}) == await quote("A", n=2, venue="X")
        assert ("A", 1, {}) == await quote("A")


async def test_a_wrapped_function_that_changes_its_arguments_is_asked_again_with_the_same() -> None:
    clock = FakeClock()
    argo = Argo.open(MEMORY, installed=False, clock=clock)
    client: list[str] = []
    given = []

    @argo.wrap(name="chat", ignore=["client"])
    async def chat(
        messages: list[str], extra: dict[str, list[int]], also: list[str], *, client: list[str]
    ) -> int:
        given.append((messages.copy(), deepcopy(extra), also.copy()))
        messages.append("changed")
        extra["n"].append(1)
        also.clear()
        client.append("asked")
        if len(given) == 1:
            msg = "try again"
            raise UpstreamError(msg, upstream="chat", action=Action.RETRY)
        return len(given)

    mine = ["hello"]
    async with argo:
        asking = asyncio.create_task(chat(mine, {"n": []}, mine, client=client))
        while not asking.done():
            await clock.advance(0.1)
    assert asking.result() == 2
    assert given == [(["hello"], {"n": []}, ["hello"])] * 2
    assert mine == ["hello"]
    assert client == ["asked", "asked"]


@pytest.mark.parametrize("function", [lambda symbol, /: None, lambda *symbols: None])
def test_what_is_not_given_by_its_name_cannot_be_asked_for(function) -> None:
    argo = Argo.open(MEMORY, installed=False)
    with pytest.raises(ConfigError, match="'symbols?' is not passed by name"):
        argo.wrap(name="quote")(function)


async def test_two_functions_do_not_answer_for_each_other() -> None:
    argo = Argo.open(MEMORY, installed=False)

    def quoting(venue: str):
        async def quote(symbol: str) -> str:
            return f"{symbol} at {venue}"

        return quote

    one = argo.wrap()(quoting("X"))
    with pytest.raises(ConfigError, match=r"is taken by another function .* wrap\(name="):
        argo.wrap()(quoting("Y"))
    other = argo.wrap(name="other")(quoting("Y"))
    async with argo:
        assert ("A at X", "A at Y") == (await one("A"), await other("A"))


async def test_a_definition_that_is_made_again_takes_the_place_of_the_first() -> None:
    """As in a notebook, when a cell is run once more."""
    argo = Argo.open(MEMORY, installed=False)
    async with argo:
        for answer in (1, 2):
            cell = f"async def quote(symbol):\n    return {answer}"
            names: dict[str, object] = {"__name__": "cell"}
            exec(cell, names)
            quote = argo.wrap()(names["quote"])  # type: ignore[arg-type]
        await argo.invalidate("op:cell.quote")
        assert 2 == await quote("A")


async def test_a_name_that_a_plugin_has_is_refused_and_stands_in_nobody_s_way(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        with pytest.raises(ConfigError, match="two plugins offer the operation 'bars'"):
            argo.wrap(name="bars")(_answer)
        await argo.reload()
        assert "A" == await argo.call("bars", symbol="A")


async def _answer(symbol: str) -> str:
    return f"wrapped {symbol}"


# -- Opening and closing -----------------------------------------------------------------------


async def test_an_application_is_opened_once(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        with pytest.raises(Closed, match="opened once"):
            await argo.__aenter__()
        assert "A" == await argo.call("bars", symbol="A")
    with pytest.raises(Closed, match="opened once"):
        await argo.__aenter__()


async def test_a_shutdown_that_fails_keeps_no_other_plugin_from_its_own() -> None:
    ended: list[str] = []

    class Lasting:
        @hookimpl
        async def shutdown(self) -> None:
            ended.append("lasting")

    class BrokenPlugin:
        @hookimpl
        async def shutdown(self) -> None:
            msg = "at the end"
            raise ValueError(msg)

    argo = Argo.open(
        {"argo": {"shared": "memory://", "strict": True}},
        plugins={"a_lasting": Lasting(), "b_broken": BrokenPlugin()},
        installed=False,
    )
    await argo.__aenter__()
    with pytest.raises(PluginError, match="at the end"):
        await argo.aclose()
    assert ["lasting"] == ended
    assert [] == engine_of(argo).tasks.names


async def test_who_cannot_guard_leaves_no_upstream_unguarded() -> None:
    def no_guards(upstream: Upstream) -> list[Guard]:
        msg = "no budget"
        raise ValueError(msg)

    paid = FakePlugin(
        operations=[_bars()], upstreams=[Scripted("paid", ["bars"])], guards=no_guards
    )
    async with Argo.open(MEMORY, plugins={"paid": paid}, installed=False) as argo:
        assert ["paid"] == [broken.plugin for broken in argo.broken]
        with pytest.raises(UnknownOperation):
            await argo.call("bars", symbol="A")


async def test_a_text_is_no_list_of_subjects(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        with pytest.raises(BadParameter, match="give a list"):
            await argo.map("bars", "AAPL")


# -- Callers -----------------------------------------------------------------------------------


async def test_options_hold_for_every_call_of_that_caller(open_argo) -> None:
    upstream = Scripted("a", ["bars"])
    async with open_argo(upstream) as argo:
        acme = argo.options(tenant="acme", max_age=5.0, extensions={"x.y": 1})
        await acme.options(timeout=3.0).call("bars", symbol="A")
        await acme.outcome("bars", symbol="B")
    assert [c.tenant for c in upstream.asked] == ["acme", "acme"]
    assert [c.max_age for c in upstream.asked] == [5.0, 5.0]
    assert dict(upstream.asked[0].extensions) == {"x.y": 1}


async def test_questions_of_every_form_are_asked(open_argo) -> None:
    """Plain scalars are remembered; everything else is worked out each time, and right."""
    async with open_argo(Scripted("a", ["bars"], lambda call: call.key)) as argo:
        keys = [await argo.call("bars", symbol="A", days=d) for d in (1, 1.0, True, [1], (1,), 1)]
        assert len(set(keys)) == 5
        assert keys[0] == keys[5]
        for number in range(5_000):
            await argo.call("bars", symbol=f"S{number}")
        assert await argo.call("bars", symbol="A", days=1) == keys[0]
        # A prompt may be of any size: thousands of them are not to be kept.
        remembered = engine_of(argo).pipeline.calls._calls
        before = len(remembered)
        await argo.call("bars", symbol="A" * 1_000)
        assert before == len(remembered)


# -- Explanations ------------------------------------------------------------------------------


async def test_explain_tells_what_each_part_would_do(open_argo) -> None:
    async def through(call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    class Explaining:
        async def __call__(self, call: Call, call_next: Next) -> Outcome:
            return await call_next(call)

        def explain(self, call: Call) -> str:
            return f"would look up {call.subject}"

    layers = (
        Layer("cache", Explaining(), slot="cache"),
        Layer("coalesce", through, slot="coalesce"),
        Layer("race", through, slot="race", serves=lambda op: False),
    )
    config = {"flags": {"coalesce": "off"}, "upstreams": {"a": {"per_day": 25}}}
    async with open_argo(Scripted("a", ["bars"]), layers=layers, config=config) as argo:
        told = argo.explain("bars", symbol="A")
    assert [(e.name, e.on, e.text) for e in told] == [
        ("cache", True, "would look up A"),
        ("coalesce", False, ""),
        ("upstream.a", True, "asked for 30 s at most; 25 per day"),
    ]
    assert told[1].flag == "off (argo.toml; STATIC)"


# -- Events ------------------------------------------------------------------------------------


async def test_nothing_is_told_when_nobody_listens(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        seen: list[Event] = []
        stop = observe(argo, seen.append)
        await argo.call("bars", symbol="A")
        stop()
        count = len(seen)
        await argo.call("bars", symbol="A")
        assert len(seen) == count > 0
        assert not context_of(argo).events


async def test_a_failed_call_is_told_too(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"], RuntimeError("x"))) as argo:
        events = capture_events(argo)
        with pytest.raises(ArgoError):
            await argo.call("bars", symbol="A")
        await argo.reload()
    assert [type(e.error).__name__ for e in events.of(CallEnded)] == ["UpstreamError"]
    assert [e.reason for e in events.of(Reconfigured)] == ["reloaded"]


def test_an_observer_that_raises_is_taken_out() -> None:
    def broken(event: Event) -> None:
        msg = "cannot watch"
        raise ValueError(msg)

    seen: list[Event] = []
    events = Events([broken, seen.append])
    events.emit(Trouble("here", "this"))
    events.emit(Trouble("here", "that"))
    assert seen == [Trouble("here", "this"), Trouble("here", "that")]


async def test_trouble_is_said_once(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        events = capture_events(argo)
        for _ in range(3):
            context_of(argo).warn_once("here", "this")
        for number in range(1_001):
            context_of(argo).warn_once("there", str(number))
    assert events.of(Trouble)[0] == Trouble("here", "this")
    assert len(events.of(Trouble)) == 1_002


async def test_observers_of_plugins_are_collected(open_argo) -> None:
    seen: list[Event] = []

    class Watching:
        @hookimpl
        def register_observers(self, context: Context) -> list[object]:
            return [seen.append]

    async with open_argo(Scripted("a", ["bars"]), plugins={"watching": Watching()}) as argo:
        await argo.call("bars", symbol="A")
    assert seen


async def test_an_observer_of_one_kind_of_operation_leaves_the_events_of_others_unbuilt(
    open_argo,
) -> None:
    seen: list[Event] = []

    class OfModels:
        kinds = (CallEnded, LayerActed)
        operation_kinds = ("llm",)

        def __call__(self, event: Event) -> None:
            seen.append(event)

    async def answer(call: Call) -> Outcome:
        return Outcome("x")

    asked = operation(name="asked", kind="llm")(lambda: None)
    model = Upstream("model", frozenset(["asked"]), answer)
    plugin = FakePlugin(operations=[asked], upstreams=[model])
    async with open_argo(Scripted("a", ["bars"]), plugins={"models": plugin}) as argo:
        context = context_of(argo)
        context.events.add(OfModels())
        await argo.call("bars", symbol="A")
        context.announce("cache", "miss", context.make_call("bars", "t", {"symbol": "A"}))
        assert [] == seen
        await argo.call("asked")
        assert ["asked"] == [one.call.operation.name for one in seen if isinstance(one, CallEnded)]
        context.events.add(observes(CallEnded)(lambda event: None))
        await argo.call("bars", symbol="B")
        assert "bars" in [one.call.operation.name for one in seen if isinstance(one, CallEnded)]


@pytest.mark.parametrize("kinds", ["llm", (), ("bars",), ("llm", "bars")])
async def test_an_observer_of_kinds_of_operations_that_do_not_exist_is_refused(
    open_argo, kinds: object
) -> None:
    seen: list[Event] = []

    def observer(event: Event) -> None:
        seen.append(event)

    observer.operation_kinds = kinds  # type: ignore[attr-defined]
    async with open_argo(Scripted("a", ["bars"])) as argo:
        with pytest.raises(ConfigError, match="give a list of some of fetch"):
            observe(argo, observer)
        await argo.call("bars", symbol="A")
    assert [] == seen


# -- Invalidation ------------------------------------------------------------------------------


async def test_invalidate_and_expire_reach_the_tag_versions(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"])) as argo:
        tag_versions = context_of(argo).tag_versions
        one, two = [await tag_versions.load([tag]) for tag in ("subject:A", "subject:B")]
        await argo.invalidate("subject:A")
        await argo.expire("subject:B")
        assert (tag_versions.peek(one).value, tag_versions.peek(two).value) == ("miss", "stale")


# -- The blocking facade -----------------------------------------------------------------------


def test_scripts_call_without_a_loop() -> None:
    plugin = FakePlugin(operations=[_bars()], upstreams=[_plain_upstream()])
    with BlockingArgo(MEMORY, plugins={"asked": plugin}, installed=False) as argo:
        assert argo.call("bars", symbol="A") == "A"
        assert argo.outcome("bars", symbol="A").upstream == "plain"
        assert set(argo.map("bars", ["A", "B"])) == {"A", "B"}
        argo.invalidate("subject:A")
    with pytest.raises(Closed, match="use it inside `with BlockingArgo"):
        argo.call("bars", symbol="A")


def test_a_blocking_call_on_its_own_loop_is_an_error() -> None:
    found: list[Exception] = []

    async def recursive(symbol: str) -> str:
        try:
            argo.call("bars", symbol=symbol)
        except ArgoError as error:
            found.append(error)
        return symbol

    plugin = FakePlugin(operations=[_bars()], upstreams=[_plain_upstream(recursive)])
    with BlockingArgo(MEMORY, plugins={"asked": plugin}, installed=False) as argo:
        argo.call("bars", symbol="A")
    assert "would wait for itself" in str(found[0])


def test_a_caller_that_waits_when_a_blocking_application_closes_gets_an_error() -> None:
    asked, told = threading.Event(), []

    async def never(symbol: str) -> str:
        asked.set()
        await asyncio.Event().wait()
        return symbol

    def wait() -> None:
        with pytest.raises(Closed, match="closed while it was asked") as found:
            argo.call("bars", symbol="A")
        told.append(found.value)

    plugin = FakePlugin(operations=[_bars()], upstreams=[_plain_upstream(never)])
    with BlockingArgo(MEMORY, plugins={"asked": plugin}, installed=False) as argo:
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert asked.wait(60)
    waiting.join(60)
    assert 1 == len(told)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_is_told_that_it_has_no_loop() -> None:
    plugin = FakePlugin(operations=[_bars()], upstreams=[_plain_upstream()])
    with BlockingArgo(MEMORY, plugins={"asked": plugin}, installed=False) as argo:
        child = os.fork()
        if child == 0:
            try:
                argo.call("bars", symbol="A")
            except Closed:
                os._exit(7)
            os._exit(1)
        assert 7 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert "A" == argo.call("bars", symbol="A")


def test_a_blocking_application_that_cannot_open_ends_its_thread() -> None:
    with pytest.raises(ConfigError):
        with BlockingArgo({"argo": {"shared": "nope://"}}, installed=False):
            pass
    assert not [t for t in threading.enumerate() if t.name == "argo-mw:blocking"]


def _bars():

    return operation(name="bars", subject="symbol")(lambda symbol: None)


def _plain_upstream(function=None):
    from argo_mw.plugin import Upstream

    async def fetch(call: Call) -> Outcome:
        return Outcome(await function(call.subject) if function else call.subject)

    return Upstream("plain", {"bars"}, fetch)


def test_the_clock_of_the_machine_runs_timers() -> None:
    from argo_mw.plugin import SystemClock

    async def run() -> list[str]:
        clock, rung = SystemClock(), asyncio.Event()
        clock.call_at(clock.monotonic(), rung.set)
        await rung.wait()
        await clock.sleep(0)
        return ["rung"] if clock.time() > 0 else []

    assert asyncio.run(run()) == ["rung"]
    assert FakeClock().time() > 0


async def test_a_plugin_teaches_the_codecs_its_types(open_argo) -> None:
    from attrs import frozen

    from argo_mw.plugin import Codecs

    @frozen
    class Tick:
        price: float

    class Teaching:
        @hookimpl
        def register_codecs(self, codecs: Codecs) -> None:
            codecs.register(Tick, "test.tick", lambda t: t.price, Tick)

    async with open_argo(plugins={"teaching": Teaching()}) as argo:
        codecs = context_of(argo).codecs
        assert codecs.decode(codecs.encode(Tick(1.5))) == Tick(1.5)


async def test_a_changed_file_is_taken_up_while_the_application_runs(tmp_path: Path) -> None:
    """And one that cannot be used leaves the old configuration in use."""
    from argo_mw.flags import Rule
    from argo_mw.flags.overlay import Overlay

    file = tmp_path / "argo.toml"
    base = '[argo]\nshared = "memory://"\n'
    file.write_text(base)

    async def through(call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    plugins = {"cache": FakePlugin(layer=Layer("cache", through, slot="cache"))}
    async with Argo.open(file, plugins=plugins, installed=False) as argo:
        reloaded = asyncio.Event()
        observe(argo, lambda event: reloaded.set() if isinstance(event, Reconfigured) else None)

        async def until(state: str) -> None:
            while (
                engine_of(argo).pipeline.flags["cache"].rule.state != state
                or engine_of(argo).pipeline.flags["cache"].rule.killed
            ):
                await reloaded.wait()
                reloaded.clear()

        file.write_text(base + '[flags]\ncache = "off"\n')
        await until("off")
        before = argo.settings
        file.write_text("[argo")
        Overlay(context_of(argo).state_dir).update("cache", lambda _: Rule("on"))
        file.write_text(base + '[flags]\ncache = "off"\n')
        await until("on")
        assert argo.settings == before


def test_an_observer_gets_what_it_asked_for_and_hits_cost_nothing_for_it() -> None:
    from argo_mw.plugin import AnswerSeen, CallEnded, observes

    seen: list[Event] = []

    @observes(Trouble)
    def watch(event: Event) -> None:
        seen.append(event)

    events = Events([watch])
    events.emit(Reconfigured("x", ()))
    events.emit(Trouble("here", "this"))
    assert seen == [Trouble("here", "this")]
    assert (events.active, events.calls) == (True, False)
    events.add(observes(AnswerSeen, CallEnded)(lambda event: None))
    assert events.calls


async def test_a_plugin_s_observers_go_with_its_layer_s_flag(open_argo) -> None:
    seen: list[Event] = []

    async def through(call: Call, call_next: Next) -> Outcome:
        return await call_next(call)

    class Watching(FakePlugin):
        @hookimpl
        def register_observers(self) -> list[object]:
            return [seen.append]

    watching = Watching(layer=Layer("cache", through, slot="cache"))
    async with open_argo(Scripted("a", ["bars"]), plugins={"cache": watching}) as argo:
        await argo.call("bars", symbol="A")
        await argo.reload({**MEMORY, "flags": {"cache": "off"}})
        heard = len(seen)
        await argo.call("bars", symbol="A")
        assert len(seen) == heard > 0
        assert not context_of(argo).events
        await argo.reload(MEMORY)
        await argo.call("bars", symbol="A")
    assert len(seen) > heard
