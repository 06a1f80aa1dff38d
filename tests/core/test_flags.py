"""Flags decide, per call, whether a layer acts."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import ConfigError, Outcome
from argo_mw.app.application import engine_of
from argo_mw.flags import Flag, Rule
from argo_mw.flags.bucket import BUCKETS, bucket, in_control, in_treatment
from argo_mw.flags.changes import kill, set_to
from argo_mw.flags.model import HOLDS, State
from argo_mw.flags.overlay import Overlay
from argo_mw.flags.parse import dump_rule, format_rule, parse_rule
from argo_mw.flags.sources import resolve
from argo_mw.model.call import make_call
from argo_mw.plugin import (
    Call,
    CallEnded,
    Layer,
    Next,
    context_of,
    hookimpl,
    observe,
    operation,
)
from argo_mw.testing import Scripted, capture_events, settle


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


def call(symbol: str = "AAPL", tenant: str = "acme") -> Call:
    return make_call(bars, {"symbol": symbol}, tenant=tenant)


percents = st.floats(0, 100, allow_nan=False)
units = st.text(max_size=12)


@given(units, percents, percents)
def test_ramping_up_never_moves_a_unit_back(unit: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    place = bucket("cache", unit)
    if in_treatment(place, less):
        assert in_treatment(place, more)


@given(units, percents)
def test_no_unit_is_in_both_arms(unit: str, percent: float) -> None:
    place = bucket("cache", unit)
    assert not (in_treatment(place, percent) and in_control(place, percent))


@pytest.mark.parametrize("percent", [1, 10, 50, 90])
def test_the_arms_hold_their_share_of_units(percent: float) -> None:
    places = [bucket("race", f"unit {n}") for n in range(20_000)]
    treated = sum(in_treatment(p, percent) for p in places) / len(places) * 100
    control = sum(in_control(p, percent) for p in places) / len(places) * 100
    assert treated == pytest.approx(percent, abs=1.0)
    assert control == pytest.approx(min(percent, 100 - percent), abs=1.0)


@pytest.mark.parametrize(
    ("percent", "treated", "control"),
    [
        (0.0, 0, 0),
        (0.01, 1, 1),
        (10, 1_000, 1_000),
        (12.346, 1_235, 1_235),  # the nearest hundredth of a percent
        (50, 5_000, 5_000),
        (75, 7_500, 2_500),
        (100, 10_000, 0),
    ],
)
def test_treatment_is_at_the_low_end_and_control_at_the_high_end(
    percent: float, treated: int, control: int
) -> None:
    assert [*range(treated)] == [p for p in range(BUCKETS) if in_treatment(p, percent)]
    assert [*range(BUCKETS - control, BUCKETS)] == [
        p for p in range(BUCKETS) if in_control(p, percent)
    ]


def test_buckets_are_pinned() -> None:
    """They must never change: a deployment would reshuffle every ramp."""
    assert [bucket("race", u) for u in ("AAPL", "MSFT", "")] == [5653, 4018, 1100]
    assert all(0 <= bucket("a", str(n)) < BUCKETS for n in range(1000))


@pytest.mark.parametrize(
    ("rule", "on", "reason", "arm"),
    [
        (Rule("on"), True, "STATIC", ""),
        (Rule("off"), False, "STATIC", ""),
        (Rule("shadow"), False, "STATIC", ""),
        (Rule("off", percent=100), True, "SPLIT", "treatment"),
        (Rule("on", percent=0), False, "SPLIT", ""),
        (Rule("off", percent=0, subjects={"AAPL": True}), True, "TARGETING_MATCH", ""),
        (Rule("on", percent=100, subjects={"AAPL": False}), False, "TARGETING_MATCH", ""),
        (Rule("on", subjects={"F": False}), True, "DEFAULT", ""),
        (Rule("shadow", subjects={"F": True}), False, "DEFAULT", ""),
        (Rule("on", rolled_back="errors"), False, "DISABLED", ""),
        (Rule("on", killed=True, subjects={"AAPL": True}), False, "DISABLED", ""),
    ],
)
def test_the_kill_switch_comes_first_then_latch_subject_share_and_state(
    rule: Rule, on: bool, reason: str, arm: str
) -> None:
    decision = Flag("race", rule).decide(call())
    assert (on, reason, arm) == (decision.on, str(decision.reason), decision.arm)


def test_a_rule_that_cannot_be_used_is_off_with_the_reason_error() -> None:
    flag = Flag("race", Rule("on", subjects={"AAPL": True}), fault="it cannot")
    decision = flag.decide(call())
    assert (False, "ERROR") == (decision.on, str(decision.reason))
    held = Flag("race", Rule("on", killed=True), fault="it cannot")
    assert "DISABLED" == str(held.decide(call()).reason)


@pytest.mark.parametrize("state", ["on", "shadow", "off"])
@pytest.mark.parametrize(
    ("percent", "arms"), [(20, {"treatment", "control", ""}), (50, {"treatment", "control"})]
)
def test_a_ramp_is_on_for_treatment_alone_and_shadows_nobody(
    state: State, percent: float, arms: set[str]
) -> None:
    flag = Flag("race", Rule(state, percent=percent))
    decisions = [flag.decide(call(f"S{n}")) for n in range(100)]
    assert arms == {one.arm for one in decisions}
    for one in decisions:
        assert (one.arm == "treatment", "SPLIT", False) == (one.on, str(one.reason), one.shadow)


@pytest.mark.parametrize(
    ("by", "same", "other"),
    [
        ("subject", call("A", "x"), call("A", "y")),
        ("tenant", call("A", "x"), call("B", "x")),
        ("key", call("A", "x"), call("A", "y")),
    ],
)
def test_equal_units_share_an_arm(by: str, same: Call, other: Call) -> None:
    flag = Flag("race", Rule("off", percent=50, by=by))  # type: ignore[arg-type]
    assert flag.decide(same) == flag.decide(other)


def test_deciding_remembers_a_bounded_number_of_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("argo_mw.flags.model._MAX_UNITS", 3)
    flag = Flag("race", Rule("off", percent=50))
    remembered = []
    for number in range(5):
        flag.decide(call(f"S{number}"))
        remembered.append(len(flag._places))
    assert [1, 2, 3, 1, 2] == remembered


@pytest.mark.parametrize(
    ("rule", "constant", "shadows", "idle"),
    [
        (Rule("on"), True, False, False),
        (Rule("off"), False, False, True),
        (Rule("shadow"), False, True, False),
        (Rule("shadow", killed=True), False, False, True),
        (Rule("shadow", rolled_back="p99"), False, False, True),
        (Rule("shadow", subjects={"A": True}), None, True, False),
        (Rule("off", percent=0), None, False, False),
        (Rule("on", rolled_back="p99"), False, False, True),
    ],
)
def test_a_rule_says_what_it_does_to_every_call(
    rule: Rule, constant: bool | None, shadows: bool, idle: bool
) -> None:
    assert (constant, shadows, idle) == (rule.constant, rule.shadows, rule.idle)


@pytest.mark.parametrize("subjects", [{}, {"F": True}], ids=["static", "default"])
def test_a_layer_shadows_the_calls_that_its_rule_says(subjects: dict[str, bool]) -> None:
    for state, shadows in (("on", False), ("off", False), ("shadow", True)):
        rule = Rule(state, subjects=subjects)  # type: ignore[arg-type]
        assert shadows == Flag("race", rule).decide(call()).shadow
    assert not Flag("race", Rule("shadow", killed=True)).decide(call()).shadow
    assert not Flag("race", Rule("shadow", percent=50)).decide(call()).shadow


@pytest.mark.parametrize(
    ("new", "kept"), [({}, {"A": False}), ({"B": True}, {"B": True}), ({"A": True}, {"A": True})]
)
def test_single_subjects_stay_until_others_are_set(
    new: dict[str, bool], kept: dict[str, bool]
) -> None:
    old = Rule("off", subjects={"A": False})
    assert Rule("on", subjects=kept) == set_to(Rule("on", subjects=new))(old)


def test_the_first_subjects_of_a_flag_are_taken_as_they_are() -> None:
    assert Rule("on", subjects={"A": True}) == set_to(Rule("on", subjects={"A": True}))(Rule())


# -- What people write -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "rule", "read"),
    [
        ("on", Rule("on"), "on"),
        (False, Rule("off"), "off"),
        (True, Rule("on"), "on"),
        ("shadow", Rule("shadow"), "shadow"),
        ("10%", Rule("off", percent=10), "10% by subject"),
        ("2.5 % by tenant", Rule("off", percent=2.5, by="tenant"), "2.5% by tenant"),
        ({"percent": 10, "by": "key"}, Rule("off", percent=10, by="key"), "10% by key"),
        ({"state": "off"}, Rule("off"), "off"),
        ({"subjects": {"A": "off"}}, Rule("on", subjects={"A": False}), "on (A=off)"),
        (
            {"subjects": {"A": "on", "B": True, "C": False}},
            Rule("on", subjects={"A": True, "B": True, "C": False}),
            "on (A=on, B=on, C=off)",
        ),
        ({"killed": True}, Rule("on", killed=True), "killed"),
        ({"rolled_back": "p99"}, Rule("on", rolled_back="p99"), "rolled back: p99"),
        ({"killed": True, "only_holds": True}, evolve(HOLDS, killed=True), "killed"),
    ],
)
def test_rules_are_written_in_many_ways(written: object, rule: Rule, read: str) -> None:
    parsed = parse_rule("race", written)
    assert parsed == rule
    assert format_rule(parsed) == read
    assert parse_rule("race", dump_rule(parsed)) == rule


@pytest.mark.parametrize(
    "written",
    ["maybe", 3, None, "110%", {"percent": "10"}, {"percent": True}, {"by": "phase"},
     {"state": "x"}, {"subjects": ["A"]}, {"colour": 1}, "10% by moon",
     {"killed": "true"}, {"subjects": {"A": "10%"}}],
)  # fmt: skip
def test_nonsense_is_refused_with_the_forms_there_are(written: object) -> None:
    with pytest.raises(ConfigError, match="flag 'race' cannot be set to .* Write 'on', 'off'"):
        parse_rule("race", written)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("twelve chars", "'twelve chars'"),
        ("thirteen char", "a longer text"),
        ("no", "'no'"),
        (None, "None"),
        (3, "3"),
        (2.5, "2.5"),
        (["A"], "a list"),
    ],
)
def test_an_error_repeats_what_is_short_and_no_longer_text(written: object, shown: str) -> None:
    """A longer text may be a secret at the wrong key."""
    with pytest.raises(ConfigError, match=f"cannot be set to {re.escape(shown)}: "):
        parse_rule("race", written)


# -- Where rules come from ---------------------------------------------------------------------


def test_later_sources_win_and_a_kill_outlives_the_environment() -> None:
    flags = resolve(
        ["a", "b", "c", "d", "upstream.x"],
        configured={"b": "off", "c": "off", "d": "off"},
        overlay={"c": Rule("on"), "d": Rule("on", killed=True), "gone": Rule("on")},
        environ={"ARGO_MW_FLAG_D": "on", "ARGO_MW_FLAG_UPSTREAM__X": "10%", "OTHER": "x"},
    )
    told = {n: (format_rule(f.rule), f.source) for n, f in flags.items()}
    assert told == {
        "a": ("on", "default"),
        "b": ("off", "argo.toml"),
        "c": ("on", "overlay"),
        "d": ("killed", "ARGO_MW_FLAG_D"),
        "upstream.x": ("10% by subject", "ARGO_MW_FLAG_UPSTREAM__X"),
    }


@pytest.mark.parametrize(
    ("configured", "fleet", "overlay", "environ", "shown", "source", "held_by"),
    [
        ("off", "10%", None, None, "10% by subject", "fleet", ""),
        ("off", "10%", "20%", None, "20% by subject", "overlay", ""),
        ("off", "10%", "20%", "30%", "30% by subject", "ARGO_MW_FLAG_A", ""),
        ("off", {"killed": True, "only_holds": True}, None, None, "killed", "argo.toml", "fleet"),
        ("off", {"killed": True}, "20%", "on", "killed", "ARGO_MW_FLAG_A", "fleet"),
        (None, {"rolled_back": "x"}, {"killed": True}, None, "rolled back: x", "overlay", "fleet"),
        (None, "10%", {"killed": True, "only_holds": True}, None, "killed", "fleet", "overlay"),
        ({"killed": True}, None, None, None, "killed", "argo.toml", "argo.toml"),
        ({"killed": True}, "10%", None, None, "10% by subject", "fleet", ""),
        ({"killed": True}, None, "10%", None, "10% by subject", "overlay", ""),
    ],
)  # fmt: skip
def test_what_decides_and_what_holds_off_are_known(
    configured, fleet, overlay, environ, shown: str, source: str, held_by: str
) -> None:
    def rules(written: object) -> dict[str, Rule]:
        return {} if written is None else {"a": parse_rule("a", written)}

    [flag] = resolve(
        ["a"],
        configured={} if configured is None else {"a": configured},
        fleet=rules(fleet),
        overlay=rules(overlay),
        environ={} if environ is None else {"ARGO_MW_FLAG_A": environ},
    ).values()
    assert (shown, source, held_by) == (format_rule(flag.rule), flag.source, flag.held_by)


@pytest.mark.parametrize(
    ("configured", "environ", "message"),
    [
        (
            {"cach": "on"},
            {},
            r"\[flags\] sets flag 'cach', which does not exist: did you mean 'cache'",
        ),
        (
            {},
            {"ARGO_MW_FLAG_CACH": "on"},
            r"the environment \(ARGO_MW_FLAG_CACH\) sets flag 'cach'",
        ),
        ({"qqq": "on"}, {}, "known are cache"),
    ],
)
def test_an_unknown_flag_is_an_error(configured, environ, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(["cache"], configured=configured, overlay={}, environ=environ)


def test_what_is_set_for_the_flags_of_a_plugin_that_was_left_out_is_no_mistake() -> None:
    flags = resolve(
        ["cache"],
        configured={"broken": "on", "broken.part": "off"},
        overlay={},
        left_out={"broken"},
        environ={"ARGO_MW_FLAG_BROKEN": "off"},
    )
    assert ["cache"] == list(flags)


def test_the_environment_may_set_flags_whose_names_have_capital_letters() -> None:
    environ = {"ARGO_MW_FLAG_UPSTREAM__ACME": "off"}
    flags = resolve(["upstream.Acme"], configured={}, overlay={}, environ=environ)
    assert "off" == flags["upstream.Acme"].rule.state


def test_the_overlay_is_private_and_read_back(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path / "state")
    assert overlay.read() == {}
    overlay.update("race", lambda old: Rule("off", percent=10))
    overlay.update("cache", lambda old: Rule("off"))
    overlay.update("cache", lambda old: None if old else Rule("on"))
    assert overlay.read() == {"race": Rule("off", percent=10)}
    assert stat.S_IMODE(overlay.path.stat().st_mode) == 0o600


def test_the_overlay_makes_the_folders_above_it(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path / "not" / "there")
    overlay.update("race", kill)
    assert overlay.read()["race"].killed
    assert 0o700 == stat.S_IMODE(overlay.path.parent.stat().st_mode)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_overlay_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    overlay = Overlay(tmp_path)
    overlay.path.write_text(content)
    with pytest.raises(ConfigError, match="flags.json cannot be read.*mend or delete the file"):
        overlay.read()


# -- In the chain ------------------------------------------------------------------------------


def shouting(name: str, **more: object) -> Layer:
    async def middleware(call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by(name, "was here")

    return Layer(name, middleware, slot=name, **more)  # type: ignore[arg-type]


async def test_a_ramped_layer_acts_for_its_share_and_tells_the_arm(open_argo) -> None:
    config = {"flags": {"cache": "50%"}}
    async with open_argo(
        Scripted("a", ["bars"]), layers=(shouting("cache"),), config=config
    ) as argo:
        events = capture_events(argo)
        outcomes = {s: await argo.outcome("bars", symbol=s) for s in (f"S{n}" for n in range(40))}
        flag = engine_of(argo).pipeline.flags["cache"]
        for symbol, outcome in outcomes.items():
            assert ("cache" in outcome.via) == flag.decide(call(symbol)).on
        arms = {dict(e.arms)["cache"] for e in events.of(CallEnded)}
    assert arms == {"treatment", "control"}


async def test_what_a_layer_shaped_is_tagged_with_its_name(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(shouting("cache"),)) as argo:
        outcome = await argo.outcome("bars", symbol="A")
    assert "layer:cache" in outcome.tags
    assert [(n.layer, n.text) for n in outcome.notes] == [("cache", "was here")]


async def test_a_flag_flips_under_load_and_no_call_fails(open_argo) -> None:
    """1,000 flips while calls run: layers keep their instances, calls their answers."""
    upstream = Scripted("a", ["bars"])
    layer = shouting("cache")
    async with open_argo(upstream, layers=(layer,)) as argo:
        base = {"argo": {"shared": "memory://", "strict": True}}
        answers: list[object] = []
        done = asyncio.Event()

        async def load() -> None:
            number = 0
            while not done.is_set():
                number += 1
                answers.append(await argo.call("bars", symbol=f"S{number % 7}"))
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(load()) for _ in range(5)]
        for flip in range(1_000):
            await argo.reload({**base, "flags": {"cache": "on" if flip % 2 else "off"}})
            await asyncio.sleep(0)
            assert engine_of(argo).pipeline.contributions["cache"].layers == (layer,)
        done.set()
        await asyncio.gather(*tasks)
    assert len(answers) > 1_000


async def test_a_reload_that_cannot_be_used_keeps_the_old(open_argo) -> None:
    async with open_argo(Scripted("a", ["bars"]), layers=(shouting("cache"),)) as argo:
        before = engine_of(argo).pipeline
        with pytest.raises(ConfigError):
            await argo.reload({"argo": {"shared": "memory://"}, "flags": {"nope": "on"}})
        assert engine_of(argo).pipeline is before
        assert argo.settings.flags == {}
        await settle()


def test_the_overlay_s_file_is_plain_json(tmp_path: Path) -> None:
    overlay = Overlay(tmp_path)
    overlay.update("race", lambda _: Rule("off", percent=10))
    assert json.loads(overlay.path.read_text())["race"]["percent"] == 10


async def test_a_plugin_asks_its_own_flags_about_single_calls(open_argo) -> None:
    class Parted:
        @hookimpl
        def register_flags(self) -> list[str]:
            return ["parted.half"]

    config = {"flags": {"parted.half": {"state": "off", "subjects": {"TSLA": "on"}}}}
    async with open_argo(plugins={"parted": Parted()}, config=config) as argo:
        asked = {s: context_of(argo).flag("parted.half", call(s)).on for s in ("AAPL", "TSLA")}
        with pytest.raises(ConfigError, match="a plugin asks flag 'parted.hal', .* did you mean"):
            context_of(argo).flag("parted.hal", call())
    assert {"AAPL": False, "TSLA": True} == asked


# -- Rolling back ------------------------------------------------------------------------------


async def test_a_rollback_holds_a_layer_off_and_forgets_what_it_served(open_argo) -> None:
    layers = (shouting("cache"),)
    config = {"flags": {"cache": "10%"}}
    async with open_argo(Scripted("a", ["bars"]), layers=layers, config=config) as argo:
        before = (await context_of(argo).tag_versions.load(["layer:cache"])).versions
        await argo.roll_back("cache", "p99 doubled")
        assert before != (await context_of(argo).tag_versions.load(["layer:cache"])).versions
        assert "rolled back: p99 doubled" == format_rule(
            engine_of(argo).pipeline.flags["cache"].rule
        )
        assert 10 == engine_of(argo).pipeline.flags["cache"].rule.percent
        assert () == (await argo.outcome("bars", symbol="A")).via
        with pytest.raises(ConfigError, match="did you mean 'cache'"):
            await argo.roll_back("cach", "p99 doubled")
        with pytest.raises(ConfigError, match="without a reason; say what was seen"):
            await argo.roll_back("cache", "")


async def test_an_observer_may_roll_back_a_ramp_that_does_harm(open_argo) -> None:
    """As the how-to shows it."""
    layers = (shouting("cache"),)
    async with open_argo(Scripted("a", ["bars"]), layers=layers) as argo:

        def judge(event: object) -> None:
            if isinstance(event, CallEnded):
                context_of(argo).tasks.spawn("judge", argo.roll_back("cache", "it shouts"))

        observe(argo, judge)
        await argo.call("bars", symbol="A")
        while not engine_of(argo).pipeline.flags["cache"].rule.rolled_back:
            await asyncio.sleep(0)
        assert () == (await argo.outcome("bars", symbol="B")).via
