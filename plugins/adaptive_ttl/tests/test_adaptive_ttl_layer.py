"""The layer in its chain: what answers are given, and when kept ones are given up."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from argo_mw import Argo, ConfigError, Outcome, PluginError, Refusal
from argo_mw.plugin import (
    AnswerSeen,
    Call,
    Operation,
    Trouble,
    Upstream,
    context_of,
    hookimpl,
    layers_of,
    operation,
)
from argo_mw.store import Freshness
from argo_mw.testing import capture_events
from argo_mw.testing.clock import FakeClock, settle
from argo_mw_adaptive_ttl import (
    TTL,
    AdaptiveTtl,
    AdaptiveTtlPlugin,
    Bars,
    Policy,
    Regime,
    Situation,
    SymbolStats,
    TtlDecision,
    price_tag,
)
from argo_mw_adaptive_ttl.calendars import Calendar, Calendars

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
MIDNIGHT = 1_718_668_800
MINUTE = 60


@operation(data_type="market_data", subject="symbol")
def bars(symbol: str) -> object:
    """The last minute bars of one symbol."""


@operation(data_type="sentiment", subject="")
def mood() -> object:
    """How the market feels."""


@operation(kind="llm", data_type="ai_reasoning", subject="symbol")
def opinion(symbol: str) -> object:
    """What a model thinks of one symbol."""


class Exchange:
    """The plugin that answers; the prices of all symbols move together but for *jump*."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.expires_at: float | None = None
        self.lacks: frozenset[str] = frozenset()
        self.error: Exception | None = None
        self.jump: dict[str, float] = {}
        chance = random.Random(4)
        self.closes = [100.0]
        for _ in range(5000):
            self.closes.append(self.closes[-1] * math.exp(chance.gauss(0.0, 8.0) / 1e4))

    @hookimpl
    def register_operations(self) -> Sequence[Operation]:
        return [bars, mood, opinion]

    @hookimpl
    def register_upstreams(self) -> Sequence[Upstream]:
        return [Upstream("exchange", ["bars", "mood", "opinion"], self.fetch)]

    async def fetch(self, call: Call) -> Outcome:
        if self.error is not None:
            raise self.error
        if call.operation is not bars:
            return Outcome("calm")
        stop = int(self.clock.time() - MIDNIGHT) // MINUTE
        closes = self.closes[stop - 90 : stop]
        closes[-1] *= math.exp(self.jump.get(call.subject, 0.0) / 1e4)
        starts = tuple(MIDNIGHT + MINUTE * minute for minute in range(stop - 90, stop))
        found = Bars(starts, tuple(closes), MINUTE)
        return Outcome(found, expires_at=self.expires_at, lacks=self.lacks)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=float(MIDNIGHT + 100 * MINUTE + 5))


@pytest.fixture
def exchange(clock: FakeClock) -> Exchange:
    return Exchange(clock)


@pytest.fixture
def open_argo(
    tmp_path: Path, clock: FakeClock, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Argo]:
    monkeypatch.delenv("ARGO_MW_STATE_DIR", raising=False)

    def make(table: Mapping[str, object] | None = None, **others: object) -> Argo:
        config = settings_of(tmp_path, table or {})
        plugins = {"adaptive_ttl": AdaptiveTtlPlugin, "exchange": exchange, **others}
        return Argo.open(config, clock=clock, plugins=plugins, installed=False)

    return make


OpenArgo = Callable[..., Argo]


def settings_of(state: Path, table: Mapping[str, object]) -> dict[str, object]:
    return {
        "argo": {"state_dir": str(state), "shared": "memory://", "strict": True},
        "plugins": {"adaptive_ttl": dict(table)},
    }


def layer_of(argo: Argo) -> AdaptiveTtl:
    (layer,) = [layer for layer in layers_of(argo) if layer.name == "adaptive_ttl"]
    assert isinstance(layer.middleware, AdaptiveTtl)
    return layer.middleware


def life(outcome: Outcome, clock: FakeClock) -> float:
    assert outcome.expires_at is not None
    return outcome.expires_at - clock.time()


def note(outcome: Outcome) -> str:
    return next(n.text for n in outcome.notes if n.layer == "adaptive_ttl")


async def test_an_answer_gets_a_time_to_live_and_the_reason(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    async with open_argo({"policy": "multipliers"}) as argo:
        outcome = await argo.outcome("bars", symbol="BTC-USD")

    assert pytest.approx(life(outcome, clock)) == 120.0
    assert ("adaptive_ttl",) == outcome.via
    assert f"market_data, {SIGMA} 3." in note(outcome)
    assert note(outcome).endswith("open → 120 s")


async def test_symbols_asked_together_wait_for_one_calendar_and_continue_together(
    open_argo: OpenArgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, each by a thread, they would miss the request they could share."""
    computed: list[str] = []
    compute = Calendars.of

    def of(calendars: Calendars, symbol: str, at: float) -> Calendar:
        computed.append(symbol)
        return compute(calendars, symbol, at)

    async with open_argo() as argo:
        monkeypatch.setattr(Calendars, "of", of)
        await argo.map("bars", [f"S{letter}" for letter in "ABCDEFGHIJKLMNOPQRST"])
    assert ["SA"] == computed


async def test_a_market_that_is_not_known_counts_as_open_and_says_so(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    async with open_argo() as argo:
        events = capture_events(argo)
        answers = await argo.map("bars", ["ES=F", "GC=F"])
        explained = argo.explain("bars", symbol="ES=F")
    for answer in answers.values():
        assert isinstance(answer, Outcome)
        assert "open" in note(answer)
        assert "(its market is not known)" in note(answer)
    assert "(its market is not known)" in explained[0].text
    (trouble,) = events.of(Trouble)
    assert "the market of 'ES=F' is not known" in trouble.what


async def test_of_a_subject_that_is_a_whole_document_the_log_shows_the_beginning(
    open_argo: OpenArgo,
) -> None:
    async with open_argo() as argo:
        events = capture_events(argo)
        await argo.outcome("bars", symbol="a whole document, " * 1_000)
    (trouble,) = events.of(Trouble)
    assert "the market of 'a whole document, a whole" in trouble.what
    assert len(trouble.what) < 300


async def test_an_answer_without_a_subject_gets_a_time_to_live(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    async with open_argo() as argo:
        outcome = await argo.outcome("mood")

    assert pytest.approx(life(outcome, clock)) == 240.0


async def test_an_error_passes_untouched(open_argo: OpenArgo, exchange: Exchange) -> None:
    exchange.error = Refusal("not today", retry_at=7.0)
    async with open_argo() as argo:
        with pytest.raises(Refusal, match="not today"):
            await argo.outcome("mood")


@pytest.mark.parametrize(
    ("table", "options", "upstream", "expected", "by"),
    [
        ({}, {"extensions": {TTL: 7.0}}, None, 7.0, "fixed by the caller"),
        ({"operations": {"bars": {"ttl": 9.0}}}, {}, None, 9.0, "fixed by the operation"),
        (
            {"operations": {"bars": {"ttl": 9.0}}},
            {"extensions": {TTL: 7.0}},
            None,
            7.0,
            "fixed by the caller",
        ),
        ({"operations": {"bars": {"ttl": 9.0}}}, {}, 0.0, 0.0, "capped by the upstream"),
        ({}, {"extensions": {TTL: 7.0}}, -5.0, 0.0, "capped by the upstream"),
        ({"operations": {"bars": {"max_ttl": 11.0}}}, {}, None, 11.0, "capped by the operation"),
        ({"operations": {"bars": {"max_ttl": 11.0}}}, {}, 8.0, 8.0, "capped by the upstream"),
        ({}, {"max_age": 3.0}, 8.0, 3.0, "capped by the caller"),
    ],
)
async def test_the_note_names_the_limit_that_binds(
    open_argo: OpenArgo,
    clock: FakeClock,
    exchange: Exchange,
    table: dict[str, object],
    options: dict[str, Any],
    upstream: float | None,
    expected: float,
    by: str,
) -> None:
    exchange.expires_at = None if upstream is None else clock.time() + upstream
    async with open_argo({"policy": "multipliers", **table}) as argo:
        outcome = await argo.options(**options).outcome("bars", symbol="BTC-USD")

    assert pytest.approx(life(outcome, clock)) == expected
    assert note(outcome).endswith(by)


async def test_a_limit_that_does_not_bind_is_not_named(
    open_argo: OpenArgo, clock: FakeClock, exchange: Exchange
) -> None:
    exchange.expires_at = clock.time() + 1e6
    async with open_argo({"policy": "multipliers"}) as argo:
        outcome = await argo.outcome("bars", symbol="BTC-USD")

    assert note(outcome).endswith("120 s")


async def test_explain_gives_the_time_to_live_and_the_reason(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    async with open_argo() as argo:
        for symbol in ("BTC-USD", "ETH-USD"):
            await argo.outcome("bars", symbol=symbol)
        await clock.advance(5 * MINUTE)
        for symbol in ("ETH-USD", "BTC-USD"):
            await argo.outcome("bars", symbol=symbol)
        text = {one.name: one.text for one in argo.explain("bars", symbol="BTC-USD")}[
            "adaptive_ttl"
        ]

    assert "%/day" in text
    assert "open, peer ETH-USD moved" in text
    assert text.endswith(" s")


async def kept(argo: Argo, symbol: str) -> Callable[[], Freshness]:
    """Return a function that says whether an answer on *symbol* of this moment is still fresh."""
    tag_versions = context_of(argo).tag_versions
    tag_snapshot = await tag_versions.load([price_tag(symbol)])
    return lambda: tag_versions.peek(tag_snapshot)


async def trade(argo: Argo, clock: FakeClock, minutes: int, step: int) -> None:
    for _ in range(0, minutes, step):
        for symbol in ("BTC-USD", "ETH-USD"):
            await argo.outcome("bars", symbol=symbol)
        await clock.advance(step * MINUTE)


async def test_a_move_of_a_peer_expires_kept_answers(
    open_argo: OpenArgo, clock: FakeClock, exchange: Exchange
) -> None:
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 400, 4)
        outcome = await argo.outcome("bars", symbol="ETH-USD")
        await argo.outcome("bars", symbol="BTC-USD")
        freshness = await kept(argo, "ETH-USD")
        await clock.advance(MINUTE)
        before = freshness()
        exchange.jump["BTC-USD"] = 200.0
        await argo.outcome("bars", symbol="BTC-USD")
        await settle()

        assert price_tag("ETH-USD") in outcome.tags
        assert Freshness.FRESH == before
        assert Freshness.STALE == freshness()


async def test_a_fetch_of_another_instance_expires_kept_answers(
    open_argo: OpenArgo, clock: FakeClock, exchange: Exchange
) -> None:
    """An answer that was found in the shared store is learned from as a load is, at no cost."""
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 400, 4)
        for symbol in ("ETH-USD", "BTC-USD"):
            await argo.outcome("bars", symbol=symbol)
        freshness = await kept(argo, "ETH-USD")
        await clock.advance(MINUTE)
        exchange.jump["BTC-USD"] = 200.0
        call = Call(bars, {"symbol": "BTC-USD"}, "a key", "BTC-USD")
        found = AnswerSeen(call, await exchange.fetch(call), "shared")
        context_of(argo).events.emit(found)
        await settle()

        assert Freshness.STALE == freshness()


async def test_without_a_fetch_an_answer_expires_at_its_recheck(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    """The timer expires it before its longest life is over, without any call."""
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 400, 4)
        outcome = await argo.outcome("bars", symbol="ETH-USD")
        freshness = await kept(argo, "ETH-USD")
        await clock.advance(life(outcome, clock) - 1.0)

        assert Freshness.STALE == freshness()


async def test_a_models_opinion_does_not_expire_with_the_price(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    """It is expensive, and was not about the last basis points."""
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 200, 4)
        price = await argo.outcome("bars", symbol="ETH-USD")
        thought = await argo.outcome("opinion", symbol="ETH-USD")

    assert price_tag("ETH-USD") in price.tags
    assert price_tag("ETH-USD") not in thought.tags


@pytest.mark.parametrize("config", [{}, {"operations": {"bars": {"ttl": 600.0}}}])
async def test_an_answer_that_lacks_something_lives_briefly_whatever_is_configured(
    open_argo: OpenArgo, exchange: Exchange, clock: FakeClock, config: dict[str, object]
) -> None:
    exchange.lacks = frozenset({"voice_claude"})
    async with open_argo(config) as argo:
        outcome = await argo.outcome("bars", symbol="ETH-USD")
        assert 60.0 == pytest.approx(life(outcome, clock))
        assert note(outcome).endswith("→ 60 s, since it lacks voice_claude")


async def test_a_fixed_time_to_live_is_not_shortened_by_peers(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    fixed = {"operations": {"bars": {"ttl": 600.0}}}
    async with open_argo({"error_budget": {"fetches": 0.25}, **fixed}) as argo:
        await trade(argo, clock, 200, 4)
        outcome = await argo.outcome("bars", symbol="ETH-USD")
        layer = layer_of(argo)

        assert pytest.approx(life(outcome, clock)) == 600.0
        assert note(outcome).endswith("→ 600 s, fixed by the operation")
        assert price_tag("ETH-USD") not in outcome.tags
        assert layer.refresher is not None
        assert not len(layer.refresher)


async def test_a_replaced_layer_hands_its_rechecks_over_and_schedules_no_more(
    open_argo: OpenArgo, clock: FakeClock, tmp_path: Path
) -> None:
    """A call that began before a reload still ends on the old layer."""
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 400, 4)
        await argo.outcome("bars", symbol="ETH-USD")
        old = layer_of(argo)
        assert old.refresher is not None
        scheduled = len(old.refresher)
        await argo.reload(settings_of(tmp_path, {"error_budget": {"fetches": 0.2}}))
        new = layer_of(argo)
        assert new.refresher is not None
        old.refresher.schedule(old.stats.symbols["ETH-USD"], clock.time() + 60, clock.time() + 120)

        assert old is not new
        assert (0, scheduled) == (len(old.refresher), len(new.refresher))
        assert 0 < scheduled


async def test_an_answer_from_before_a_reload_still_expires_early(
    open_argo: OpenArgo, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 400, 4)
        outcome = await argo.outcome("bars", symbol="ETH-USD")
        freshness = await kept(argo, "ETH-USD")
        await argo.reload(settings_of(tmp_path, {"error_budget": {"fetches": 0.2}}))
        await clock.advance(life(outcome, clock) - 1.0)

        assert Freshness.STALE == freshness()


async def test_a_rejected_configuration_leaves_the_layer_in_use(
    open_argo: OpenArgo, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_argo({"error_budget": {"fetches": 0.25}, "max_symbols": 10}) as argo:
        await trade(argo, clock, 400, 4)
        await argo.outcome("bars", symbol="ETH-USD")
        layer = layer_of(argo)
        assert layer.refresher is not None
        scheduled = len(layer.refresher)
        rejected = settings_of(tmp_path, {"max_symbols": 1})
        with pytest.raises(ConfigError):
            await argo.reload({**rejected, "flags": {"nothing": "on"}})
        still_scheduled = len(layer.refresher)
        seen_at = layer.stats.symbols["BTC-USD"].seen_at
        await clock.advance(MINUTE)
        await argo.outcome("bars", symbol="BTC-USD")

        assert layer is layer_of(argo)
        assert 10 == layer.stats.max_symbols
        assert 0 < scheduled == still_scheduled
        assert seen_at < layer.stats.symbols["BTC-USD"].seen_at


async def test_no_timer_is_left_after_shutdown(open_argo: OpenArgo, clock: FakeClock) -> None:
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 200, 4)
    await settle()

    assert 0 == clock.pending


async def test_statistics_survive_a_change_of_the_configuration(
    open_argo: OpenArgo, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_argo({"policy": "multipliers"}) as argo:
        await argo.outcome("bars", symbol="BTC-USD")
        table = {"policy": "multipliers", "multipliers": {"base_ttl": 50.0}}
        await argo.reload(settings_of(tmp_path, table))
        text = {one.name: one.text for one in argo.explain("bars", symbol="BTC-USD")}[
            "adaptive_ttl"
        ]

    assert f"{SIGMA} unknown" not in text
    assert text.endswith("50 s")


class Short:
    """A policy of a third party."""

    def decide(self, situation: Situation) -> TtlDecision:
        return TtlDecision(3.0, lambda: f"short, {situation.regime.name}")


class AlwaysTrending:
    """A regime detector of a third party."""

    regime = Regime.TRENDING

    def learn(self, move: float, expected: float, trend: float) -> None:
        """Ignore it."""


def third_party() -> ModuleType:
    module = ModuleType("third_party")

    @hookimpl
    def register_ttl_policies() -> Mapping[str, Callable[[SymbolStats, object], Policy]]:
        return {"short": lambda stats, context: Short()}

    @hookimpl
    def register_regime_detectors() -> Mapping[str, Callable[[], AlwaysTrending]]:
        return {"optimist": AlwaysTrending}

    module.register_ttl_policies = register_ttl_policies  # type: ignore[attr-defined]
    module.register_regime_detectors = register_regime_detectors  # type: ignore[attr-defined]
    return module


async def test_another_plugin_can_bring_a_policy_and_a_detector(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    table = {"policy": "short", "regime_detector": "optimist"}
    async with open_argo(table, third=third_party()) as argo:
        outcome = await argo.outcome("bars", symbol="BTC-USD")

    assert pytest.approx(life(outcome, clock)) == 3.0
    assert "short, TRENDING → 3 s" == note(outcome)


@pytest.mark.parametrize("key", ["policy", "regime_detector"])
async def test_an_unknown_name_is_an_error_with_a_suggestion(open_argo: OpenArgo, key: str) -> None:
    name = {"policy": "error_budgte", "regime_detector": "eficiency"}[key]
    with pytest.raises((ConfigError, PluginError), match="did you mean"):
        async with open_argo({key: name}):
            pass


async def test_an_unknown_calendar_is_refused_at_start_up(open_argo: OpenArgo) -> None:
    with pytest.raises((ConfigError, PluginError), match="'XLOM': did you mean 'XLON'"):
        async with open_argo({"calendars": {"*.L": "XLOM"}}):
            pass


async def test_a_market_whose_holidays_are_not_recorded_costs_no_answer(
    open_argo: OpenArgo, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for once, reported once, and counts as open."""
    asked: list[str] = []

    def unknown(name: str, **_: object) -> object:
        asked.append(name)
        msg = f"the {name} holidays are only recorded to the year 2023"
        raise ValueError(msg)

    monkeypatch.setattr("exchange_calendars.get_calendar", unknown)
    async with open_argo() as argo:
        events = capture_events(argo)
        outcomes = [await argo.outcome("bars", symbol="600000.SS") for _ in range(3)]
        looked_for = list(asked)
        explained = {one.name: one.text for one in argo.explain("bars", symbol="600000.SS")}

    assert [120.0] * 3 == [pytest.approx(life(one, clock)) for one in outcomes]
    assert ["XSHG", "XSHG"] == looked_for  # around now, and from when on to when at all
    assert ["the holidays of XSHG around 2024-06-18 are not recorded"] == [
        trouble.what.partition(":")[0] for trouble in events.of(Trouble)
    ]
    assert "open → 120 s" in explained["adaptive_ttl"]


async def test_saved_symbols_of_a_market_without_a_calendar_are_skipped(
    open_argo: OpenArgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_argo() as argo:
        await argo.outcome("bars", symbol="AAPL")
        await argo.outcome("bars", symbol="BTC-USD")

    def unknown(name: str, **_: object) -> object:
        raise ValueError(name)

    monkeypatch.setattr("exchange_calendars.get_calendar", unknown)
    async with open_argo() as argo:
        stats = layer_of(argo).stats
        assert ["BTC-USD"] == list(stats.symbols)


async def test_explain_computes_a_calendar_that_no_call_has_needed_yet(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    """The command line explains before any call has computed a calendar."""
    async with open_argo() as argo:
        explained = {one.name: one.text for one in argo.explain("bars", symbol="AAPL")}

    assert f"{SIGMA} unknown, UNKNOWN, closed → 360 s" in explained["adaptive_ttl"]


async def test_statistics_are_saved_in_a_private_file(
    open_argo: OpenArgo, clock: FakeClock, tmp_path: Path
) -> None:
    async with open_argo() as argo:
        await trade(argo, clock, 100, 5)
    file = tmp_path / "adaptive_ttl.json"
    mode = file.stat().st_mode & 0o777
    async with open_argo() as argo:
        text = {one.name: one.text for one in argo.explain("bars", symbol="BTC-USD")}[
            "adaptive_ttl"
        ]

    assert 0o600 == mode
    assert "%/day" in text


async def test_all_statistics_survive_a_restart(open_argo: OpenArgo, clock: FakeClock) -> None:
    """Sigma, its profile, correlation, regime and the account of fetches."""

    def learned(argo: Argo) -> list[object]:
        stats = layer_of(argo).stats
        return [
            (s.name, s.volatility, s.loading(0.5), s.regime, s.detector, s.fetch_rate, s.price)
            for s in stats.symbols.values()
        ]

    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        await trade(argo, clock, 200, 4)
        before = learned(argo)
    async with open_argo({"error_budget": {"fetches": 0.25}}) as argo:
        after = learned(argo)

    assert before == after
    assert 2 == len(after)


async def test_the_state_of_another_detector_is_ignored(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    async with open_argo() as argo:
        await trade(argo, clock, 100, 5)
    async with open_argo({"regime_detector": "optimist"}, third=third_party()) as argo:
        text = {one.name: one.text for one in argo.explain("bars", symbol="BTC-USD")}

    assert "TRENDING" in text["adaptive_ttl"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "[" * 100_000, '{"version": 9, "pooled_rate": {}, "symbols": []}'),
        *(
            f'{{"version": 2, "pooled_rate": {{"minutes": {odd}}}, "symbols": []}}'
            for odd in ("NaN", "Infinity", "1e308", "true", '"1"', "null")
        ),
    ],
)
async def test_a_damaged_file_is_ignored(open_argo: OpenArgo, tmp_path: Path, text: str) -> None:
    (tmp_path / "adaptive_ttl.json").write_text(text)
    async with open_argo({"policy": "multipliers"}) as argo:
        explained = {one.name: one.text for one in argo.explain("bars", symbol="BTC-USD")}

    assert f"{SIGMA} unknown" in explained["adaptive_ttl"]


async def test_statistics_are_saved_regularly(
    open_argo: OpenArgo, clock: FakeClock, tmp_path: Path
) -> None:
    """A process that is killed loses minutes, not days."""
    file = tmp_path / "adaptive_ttl.json"
    async with open_argo({"save_interval": 60.0}) as argo:
        await argo.outcome("bars", symbol="BTC-USD")
        await clock.advance(61.0)
        async with layer_of(argo).file.writing:
            assert file.exists()


async def test_calls_about_a_known_symbol_do_not_enter_pandas(
    open_argo: OpenArgo, clock: FakeClock
) -> None:
    """Sessions are plain numbers by then."""
    entered: set[str] = set()

    def note_module(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            entered.add(str(frame.f_globals.get("__name__", "")).partition(".")[0])

    async with open_argo() as argo:
        await trade(argo, clock, 20, 5)
        await argo.outcome("bars", symbol="AAPL")
        await clock.advance(5 * MINUTE)
        sys.setprofile(note_module)
        try:
            await argo.outcome("bars", symbol="AAPL")
            await argo.outcome("bars", symbol="BTC-USD")
        finally:
            sys.setprofile(None)

    assert "argo_mw_adaptive_ttl" in entered
    assert not entered & {"pandas", "numpy", "exchange_calendars", "pytz"}
