"""Panels: what programs show of themselves while a person looks, and the overview of it all."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterable

import msgspec
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Argo, BadParameter, ConfigError, Cost, Outcome, Secret
from argo_mw.plugin import (
    Button,
    Clock,
    Column,
    Context,
    Layer,
    Limits,
    Line,
    Panel,
    PanelNow,
    Plot,
    ProgramsNow,
    Shared,
    SharedUnavailable,
    View,
    context_of,
    hookimpl,
)
from argo_mw.store import OpenShared, open_shared
from argo_mw.store.codec import Codecs
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from tests.core.conftest import bars
from tests.core.test_counters import memory


@define(eq=False)
class Showing:
    """A plugin with panels; counts how often each is read, and what was pressed."""

    make: Callable[[Showing], Iterable[Panel]]
    reads: int = 0
    pressed: list[str] = field(factory=list)
    lines: list[Line] = field(factory=list)

    @hookimpl
    def register_panels(self, context: Context) -> Iterable[Panel]:
        return self.make(self)

    def read(self) -> View:
        self.reads += 1
        return View(self.lines)

    async def press(self, key: str) -> str:
        if key == "no":
            msg = "that cannot be done"
            raise ConfigError(msg)
        self.pressed.append(key)
        return f"{key} was pressed"


def one_panel(showing: Showing, *, fleet: bool = False, name: str = "showing") -> list[Panel]:
    button = Button("press", "Press", showing.press, "Press {}?")
    return [Panel(name, "Shown", ("what",), showing.read, buttons=(button,), fleet=fleet)]


@define(eq=False)
class Together:
    """A plugin whose store is one and the same for all applications that have it."""

    shared: Shared

    @hookimpl
    def register_shared_drivers(self) -> dict[str, OpenShared]:
        return {"together": self._open}

    async def _open(self, url: str, clock: Clock) -> Shared:
        return _Lent(self.shared)


class _Lent:
    """A store that stays open when one of its users closes it."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def __getattr__(self, name: str) -> object:
        return getattr(self._shared, name)

    async def aclose(self) -> None:
        """Stay open."""


@pytest.fixture
async def together(clock: FakeClock) -> Together:
    return Together(await open_shared("memory://", clock=clock, drivers={}))


@pytest.fixture
def join(clock: FakeClock, together: Together) -> Callable[..., Argo]:
    """Opens one program of a fleet."""

    def open_(*layers: Layer, upstream: Scripted | None = None, **plugins: object) -> Argo:
        asked = FakePlugin(
            operations=(bars,), upstreams=(upstream or Scripted("a", ["bars"]),), layers=layers
        )
        return Argo.open(
            {"argo": {"shared": "together://", "strict": True}},
            clock=clock,
            plugins={"asked": asked, "memory": FakePlugin(layer=memory()), "together": together,
                     **plugins},
            installed=False,
        )  # fmt: skip

    return open_


def panel(snapshot: ProgramsNow, name: str) -> PanelNow:
    (found,) = [one for one in snapshot.panels if one.name == name]
    return found


async def test_a_panel_of_a_plugin_is_shown_with_its_lines(open_argo) -> None:
    showing = Showing(one_panel, lines=[Line(("AAPL",), key="AAPL")])
    async with open_argo(Scripted("a", ["bars"]), plugins={"showing": showing}) as argo:
        await argo.call("bars", symbol="AAPL")
        shown = panel(await context_of(argo).overview().read(), "showing")
    assert shown.columns == [Column("what")]
    assert [view.lines for view in shown.views.values()] == [(Line(("AAPL",), key="AAPL"),)]


async def test_nobody_reads_a_panel_before_somebody_looks(join, clock: FakeClock) -> None:
    showing = Showing(one_panel)
    async with join(showing=showing) as argo:
        await argo.call("bars", symbol="AAPL")
        await clock.advance(60.0)
    assert showing.reads == 0


async def test_each_program_shows_its_panel_while_somebody_looks_and_then_no_more(
    join, clock: FakeClock
) -> None:
    works = Showing(one_panel, lines=[Line(("here",))])
    looks = Showing(one_panel)
    async with join(showing=works) as argo, join(showing=looks) as viewer:
        await argo.call("bars", symbol="AAPL")
        await clock.advance(6.0)
        overview = context_of(viewer).overview()
        await overview.read()
        await clock.advance(6.0)
        snapshot = await overview.read()
        name = context_of(argo).counters.instance
        assert [one.name for one in snapshot.instances] == [name]
        assert {by: v.lines for by, v in panel(snapshot, "showing").views.items()} == {
            name: (Line(("here",)),)
        }
        await clock.advance(60.0)
        read = works.reads
        await clock.advance(60.0)
    assert works.reads == read
    assert looks.reads == 0


async def test_while_somebody_looks_counters_are_published_every_two_seconds(
    join, clock: FakeClock
) -> None:
    async with join() as argo, join() as viewer:
        await argo.call("bars", symbol="AAPL")
        await clock.advance(6.0)
        overview = context_of(viewer).overview()
        await overview.read()
        await clock.advance(6.0)
        for expected in (2, 3, 4):
            await argo.call("bars", symbol="AAPL")
            await clock.advance(2.0)
            (one,) = (await overview.read()).operations
            assert one.total == expected


async def test_a_panel_of_the_fleet_is_read_once_by_the_program_that_looks(
    join, clock: FakeClock
) -> None:
    def of_the_fleet(showing: Showing) -> list[Panel]:
        return one_panel(showing, fleet=True)

    works, looks = Showing(of_the_fleet), Showing(of_the_fleet, lines=[Line(("all",))])
    async with join(showing=works) as argo, join(showing=looks) as viewer:
        await argo.call("bars", symbol="AAPL")
        await clock.advance(6.0)
        overview = context_of(viewer).overview()
        await overview.read()
        await clock.advance(6.0)
        shown = panel(await overview.read(), "showing")
    assert {name: view.lines for name, view in shown.views.items()} == {"": (Line(("all",)),)}
    assert works.reads == 0


async def test_one_program_alone_can_be_looked_at(join, clock: FakeClock) -> None:
    async with join() as one, join() as two, join() as viewer:
        for argo, times in ((one, 1), (two, 2)):
            for _ in range(times):
                await argo.call("bars", symbol="AAPL")
        await clock.advance(6.0)
        name = context_of(two).counters.instance
        snapshot = await context_of(viewer).overview("fleet", name).read()
    assert len(snapshot.instances) == 2
    assert [operation.total for operation in snapshot.operations] == [2]


async def test_of_many_programs_the_first_lines_are_shown_and_of_one_all(
    join, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argo_mw.app.overview._MOST_LINES", 6)
    monkeypatch.setattr("argo_mw.app.overview._LEAST_LINES", 2)

    def showing() -> Showing:
        view = View([Line((n,)) for n in range(5)], text="Five.")
        return Showing(lambda one: [Panel("showing", "Shown", ("number",), lambda: view)])

    programs = [join(showing=showing()) for _ in range(2)]
    async with programs[0] as one, programs[1] as two, join(showing=showing()) as viewer:
        for argo in (one, two):
            await argo.call("bars", symbol="AAPL")
        context = context_of(viewer)
        await context.overview().read()
        await clock.advance(6.0)
        both = panel(await context.overview().read(), "showing")
        name = context_of(one).counters.instance
        alone = panel(await context.overview("fleet", name).read(), "showing")
    hint = "Five. 3 lines of each program: look at one of them to see the rest"
    assert [(len(view.lines), view.text) for view in both.views.values()] == [(3, hint)] * 2
    assert [(len(view.lines), view.text) for view in alone.views.values()] == [(5, "Five.")]


async def test_why_nothing_is_seen_is_said(join, clock: FakeClock) -> None:
    async with join() as one, join() as viewer:
        context = context_of(viewer)
        (nobody,) = (await context.overview().read()).problems
        assert nobody.startswith("no program is seen: one appears after its first call")
        await one.call("bars", symbol="AAPL")
        await clock.advance(6.0)
        assert (await context.overview().read()).problems == []
        name = context_of(one).counters.instance
        (unknown,) = (await context.overview("fleet", f"{name}0").read()).problems
    assert unknown == f"no program '{name}0' is seen now: did you mean {name!r}?"


async def test_a_panel_that_fails_or_hangs_says_so_and_the_others_are_shown(
    open_argo, clock: FakeClock
) -> None:
    def broken() -> View:
        msg = "boom"
        raise ValueError(msg)

    async def hanging() -> View:
        return await asyncio.get_running_loop().create_future()

    def made(showing: Showing) -> list[Panel]:
        return [
            Panel("showing.broken", "Broken", (), broken),
            Panel("showing.hanging", "Hanging", (), hanging),
            *one_panel(showing),
        ]

    showing = Showing(made, lines=[Line(("fine",))])
    async with open_argo(Scripted("a", ["bars"]), plugins={"showing": showing}) as argo:
        await argo.call("bars", symbol="AAPL")
        reading = asyncio.create_task(context_of(argo).overview().read())
        await clock.advance(2.0)
        snapshot = await reading
    texts = {p.name: [v.text for v in p.views.values()] for p in snapshot.panels}
    assert texts["showing.broken"] == ["it cannot be read: ValueError: boom"]
    assert texts["showing.hanging"] == ["it takes longer than 1 s to read"]
    assert panel(snapshot, "showing").views


async def test_a_panel_by_the_name_of_another_plugin_is_not_shown(open_argo) -> None:
    showing = Showing(lambda one: [*one_panel(one, name="argo.flags"), *one_panel(one, name="x")])
    async with open_argo(Scripted("a", ["bars"]), plugins={"showing": showing}) as argo:
        names = [one.name for one in (await context_of(argo).overview().read()).panels]
    assert names == ["argo.upstreams", "argo.flags", "argo.troubles"]


def press_at_once(key: str) -> str:
    return f"{key} was pressed on the loop"


@pytest.mark.parametrize(
    "wrong",
    [
        ["showing"],
        "showing",
        [Panel("showing", "Shown", (), View, [Button("b", "B", press_at_once, "?")])],  # type: ignore[arg-type]
    ],
)
async def test_a_plugin_whose_panels_are_none_is_left_out_and_the_program_starts(
    open_argo, wrong: object
) -> None:
    showing = Showing(lambda _: wrong)  # type: ignore[arg-type,return-value]
    plugins, lenient = {"showing": showing}, {"argo": {"shared": "memory://"}}
    async with open_argo(Scripted("a", ["bars"]), config=lenient, plugins=plugins) as argo:
        assert await argo.call("bars", symbol="AAPL") == "AAPL"
        assert [one.stage for one in argo.broken] == ["register_panels"]


def test_a_view_is_bounded_and_holds_no_number_that_json_lacks() -> None:
    lines = [Line(("x" * 10_000, math.nan, math.inf))] * 5_000
    points = [(float(n), math.nan if n % 2 else 1.0) for n in range(5_000)]
    view = View(lines, [Plot("p" * 10_000, points)], "t" * 10_000).bounded()
    assert len(view.lines) == 1_000
    assert view.lines[0].cells == ("x" * 500, None, None)
    assert len(view.plots[0].points) == 500
    json.dumps(view.as_data(), allow_nan=False)


def test_what_is_not_seen_or_turns_the_direction_of_writing_is_an_escape() -> None:
    view = View([Line(("\u202eLLUB", "a\nb\u200b"))], [Plot("\x1b[31m", ())], "\u2066").bounded()
    assert view.lines[0].cells == ("\\u202eLLUB", "a\nb\\u200b")
    assert view.plots[0].title == "\\x1b[31m"
    assert view.text == "\\u2066"


@given(
    st.lists(
        st.text(st.characters()) | st.integers() | st.floats() | st.booleans() | st.decimals()
    ),
    st.text(st.characters()),
)
def test_whatever_a_view_holds_can_be_published_and_sent(cells: list[object], text: str) -> None:
    lines = [Line((*cells, 10**5_000, -(2**64), object()), text)]
    view = View(lines, [Plot(text, [(0.0, 1.0)])], text).bounded()
    assert View.of_data(msgspec.json.decode(msgspec.json.encode(view))) == view
    json.dumps(view.as_data(), ensure_ascii=False, allow_nan=False).encode()
    assert View.of_data(Codecs().decode(Codecs().encode(view.as_data(), "k"), "k")) == view


def test_a_line_whose_key_cannot_be_sent_back_as_it_is_has_no_buttons() -> None:
    keys = ["fine", "x" * 501, "half \ud800"]
    assert [line.key for line in View([Line((), key) for key in keys]).bounded().lines] == [
        "fine",
        "",
        "",
    ]


async def test_a_panel_with_half_a_character_and_a_huge_number_hides_no_other(
    join, clock: FakeClock
) -> None:
    odd = Showing(lambda one: [*one_panel(one), *one_panel(one, name="showing.too")])
    odd.lines = [Line(("\ud800", 10**400), key="\udfff")]
    async with join(showing=odd) as argo, join(showing=Showing(one_panel)) as viewer:
        await argo.call("bars", symbol="AAPL")
        await clock.advance(6.0)
        overview = context_of(viewer).overview()
        await overview.read()
        await clock.advance(6.0)
        snapshot = await overview.read()
    assert [view.lines[0].cells for view in panel(snapshot, "showing").views.values()] == [
        ("?", None)
    ]
    msgspec.json.encode(snapshot)


def test_a_view_is_made_again_from_its_data_and_from_no_other() -> None:
    view = View((Line(("a", 1, 2.5, True, None), "key", "bad", ("press",)),), text="so")
    assert View.of_data(view.as_data()) == view
    for wrong in (None, [], {"lines": 1}, {"lines": [{"cells": [[]]}]}):
        with pytest.raises(ValueError, match=r".+"):
            View.of_data(wrong)


async def test_a_button_does_what_it_says_and_the_journal_tells(open_argo) -> None:
    showing = Showing(one_panel)
    async with open_argo(Scripted("a", ["bars"]), plugins={"showing": showing}) as argo:
        overview = context_of(argo).overview()
        assert await overview.press("showing", "press", "AAPL") == "AAPL was pressed"
        journal = (await overview.read()).journal
    assert showing.pressed == ["AAPL"]
    assert [(entry.what, entry.why) for entry in journal] == [
        ("Shown: AAPL was pressed", "by a person")
    ]


async def test_a_button_that_there_is_not_or_that_refuses_does_nothing(open_argo) -> None:
    showing = Showing(one_panel)
    async with open_argo(Scripted("a", ["bars"]), plugins={"showing": showing}) as argo:
        overview = context_of(argo).overview()
        with pytest.raises(BadParameter, match="there is no panel 'shwing': did you mean"):
            await overview.press("shwing", "press", "AAPL")
        with pytest.raises(BadParameter, match="panel 'showing' has no button 'pull'"):
            await overview.press("showing", "pull", "AAPL")
        with pytest.raises(ConfigError, match="that cannot be done"):
            await overview.press("showing", "press", "no")
        assert (await overview.read()).journal == ()


async def test_a_flag_is_switched_off_and_revived_by_a_button(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        overview = context_of(argo).overview()
        await overview.press("argo.flags", "kill", "memory")
        killed = await overview.read()
        assert [(one.name, one.rule, one.off) for one in killed.layers] == [
            ("memory", "killed", True)
        ]
        await overview.press("argo.flags", "revive", "memory")
        revived = await overview.read()
    assert [(one.rule, one.off) for one in revived.layers] == [("on", False)]
    assert [entry.what for entry in revived.journal] == [
        "revive memory, for this machine",
        "kill memory, for this machine",
    ]


async def test_flags_that_are_changed_by_command_are_in_the_journal(join, clock: FakeClock) -> None:
    async with join() as argo, join() as other:
        flags = context_of(argo).flags
        await flags.set("memory", "10%", fleet=True)
        await flags.roll_back("memory", "too many errors", fleet=True)
        journal = await context_of(other).journal.read()
    assert [(entry.what, entry.why) for entry in journal] == [
        ("roll back memory, for the fleet", "too many errors"),
        ("set memory to 10% by subject, for the fleet", ""),
    ]
    assert {entry.by for entry in journal} == {context_of_name(argo)}


def context_of_name(argo: Argo) -> str:
    """The name of an instance that has ended."""
    assert argo._context is not None
    return argo._context.counters.instance


async def test_a_change_is_made_though_the_store_is_away_for_the_journal(
    open_argo, clock: FakeClock
) -> None:
    async with open_argo(
        Scripted("a", ["bars"]),
        layers=(memory(),),
        config={"argo": {"shared": "unreachable://"}},
    ) as argo:
        await context_of(argo).flags.kill("memory")
        assert context_of(argo).flags.all["memory"].rule.killed
        with pytest.raises(SharedUnavailable):
            await context_of(argo).journal.read()


async def test_while_the_store_is_away_this_program_alone_is_shown_and_that(open_argo) -> None:
    config = {"argo": {"shared": "unreachable://"}}
    async with open_argo(Scripted("a", ["bars"]), config=config) as argo:
        await argo.call("bars", symbol="AAPL")
        snapshot = await context_of(argo).overview().read()
    assert [one.total for one in snapshot.operations] == [1]
    assert snapshot.problems[0].startswith("the shared store is away, so only this program")


async def test_rates_are_taken_over_the_last_fifteen_seconds(open_argo, clock: FakeClock) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(memory(),)) as argo:
        overview = context_of(argo).overview()
        await argo.call("bars", symbol="AAPL")
        await clock.advance(100.0)
        (first,) = (await overview.read()).operations
        for _ in range(30):
            for _ in range(10):
                await argo.call("bars", symbol="AAPL")
            await clock.advance(2.0)
            snapshot = await overview.read()
        (one,) = snapshot.operations
        await clock.advance(20.0)
        await overview.read()
        await clock.advance(20.0)
        (quiet,) = (await overview.read()).operations
    assert first.calls == pytest.approx(0.01)
    assert one.calls == pytest.approx(5.0)
    assert one.hits == {"memory": pytest.approx(5.0)}
    assert one.hit_rate == 1.0
    assert snapshot.layers[0].acts == {"hit": pytest.approx(5.0)}
    assert 14.0 <= snapshot.seconds <= 17.0
    assert (quiet.calls, quiet.total) == (0.0, 301)


async def test_what_layers_do_besides_is_counted_and_shown(open_argo, clock: FakeClock) -> None:
    class Broken:
        async def __call__(self, call, call_next):  # type: ignore[no-untyped-def]
            context.announce("broken", "vetoed", call)
            msg = "a bug"
            raise RuntimeError(msg)

    layer = Layer("broken", Broken(), after=("cache",))
    async with open_argo(Scripted("a", ["bars"]), layers=(layer,)) as argo:
        context = context_of(argo)
        overview = context.overview()
        await overview.read()
        await argo.call("bars", symbol="AAPL")
        await clock.advance(2.0)
        (shown,) = (await overview.read()).layers
    assert shown.acts == {"vetoed": pytest.approx(0.5), "bypassed": pytest.approx(0.5)}


async def test_what_a_layer_saves_is_what_answers_of_upstreams_cost(
    open_argo, clock: FakeClock
) -> None:
    paid = Scripted("a", ["bars"], Outcome(1, cost=Cost(usd=0.5)))
    async with open_argo(paid, layers=(memory(),)) as argo:
        for _ in range(4):
            await argo.call("bars", symbol="AAPL")
        await clock.advance(3_600.0)
        (one,) = (await context_of(argo).overview().read()).operations
    assert one.usd == pytest.approx(0.5)
    assert one.saved_usd == {"memory": pytest.approx(1.5)}


async def test_troubles_and_what_is_not_well_are_shown(open_argo) -> None:
    class Sick:
        @hookimpl
        async def diagnose(self) -> Iterable[tuple[str, bool, str]]:
            return [("disk", False, "it is full"), ("key", True, "has one")]

    async with open_argo(Scripted("a", ["bars"]), plugins={"sick": Sick()}) as argo:
        context = context_of(argo)
        await argo.call("bars", symbol="AAPL")
        context.report("somewhere", "something is wrong")
        snapshot = await context.overview().read()
    assert snapshot.problems == ["sick, disk: it is full"]
    (view,) = panel(snapshot, "argo.troubles").views.values()
    assert view.lines[0].cells[1:] == ("somewhere", "something is wrong")


async def test_what_is_not_well_is_shown_without_secrets(open_argo) -> None:
    class Sick:
        @hookimpl
        async def diagnose(self) -> Iterable[tuple[str, bool, str]]:
            msg = "postgresql://me:hunter2-hunter2@db/ does not answer"
            raise OSError(msg)

    Secret("hunter3-hunter3")
    async with open_argo(Scripted("a", ["bars"]), plugins={"sick": Sick()}) as argo:
        context = context_of(argo)
        await argo.call("bars", symbol="AAPL")
        context.report("somewhere", "the key hunter3-hunter3 is wrong")
        snapshot = await context.overview().read()
    assert "hunter" not in str(snapshot)
    assert "postgresql://me:" in snapshot.problems[0]


async def test_a_program_that_closes_while_it_shows_its_panels_leaves_no_timer(
    join, clock: FakeClock
) -> None:
    released = asyncio.Event()

    async def slow() -> View:
        await released.wait()
        return View()

    showing = Showing(lambda _: [Panel("showing", "Slow", (), slow)])
    async with join() as viewer:
        async with join(showing=showing) as argo:
            await argo.call("bars", symbol="AAPL")
            await clock.advance(1.0)
            await context_of(viewer).overview().read()
            panels = context_of(argo).panels
            turn = asyncio.create_task(panels._take_turn(counters=False))
            await settle()
            assert panels._turning
        released.set()
        await turn
        assert panels._timer is None


async def test_upstreams_are_shown_with_what_their_guards_say(open_argo) -> None:
    limited = Scripted("a", ["bars"], limits=Limits(per_day=5))
    unused = Scripted("b", ["bars"], limits=Limits(per_day=1))
    async with open_argo(limited, unused) as argo:
        await argo.call("bars", symbol="AAPL")
        snapshot = await context_of(argo).overview().read()
    (view,) = panel(snapshot, "argo.upstreams").views.values()
    assert [line.cells[0] for line in view.lines] == ["a", "b"]
    assert [line.cells[3] for line in view.lines] == [
        "4 left of 5 per day",
        "not asked by this program",
    ]
