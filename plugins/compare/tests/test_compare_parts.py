"""The parts of a comparison: its clock, its workload, its variants, its figures."""

from __future__ import annotations

import asyncio
import os
import re

import pytest
from attrs import evolve
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Argo, ConfigError, Cost, Outcome
from argo_mw.plugin import operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_compare import run as running
from argo_mw_compare.baseline import Baseline
from argo_mw_compare.clock import WarpClock
from argo_mw_compare.experiment import AskedSignal, Observations
from argo_mw_compare.figures import (
    Figures,
    baseline_and_all,
    error_bp,
    figures,
    means,
    percentile,
    summarize,
    usd,
)
from argo_mw_compare.plugin import compare
from argo_mw_compare.report import page, remarks, tables_of
from argo_mw_compare.run import isolated, paced
from argo_mw_compare.variants import Variant, explained, variants
from argo_mw_compare.workload import Workload

SLOWLY = 1e-6
"""Real seconds hardly count, however many of them a busy machine takes."""


class TestWarpClock:
    async def test_a_skip_runs_timers_in_their_order_and_at_their_time(self):
        clock = WarpClock(1_000_000.0, speed=SLOWLY)
        began = clock.monotonic()
        seen: list[tuple[str, int]] = []
        for name, seconds in (("late", 500), ("early", 100), ("never", 2000)):
            clock.call_at(
                began + seconds, lambda n=name: seen.append((n, round(clock.monotonic() - began)))
            )
        await clock.skip(began + 1000, lambda: None)
        assert seen == [("early", 100), ("late", 500)]
        assert clock.monotonic() - began == pytest.approx(1000, abs=1)
        assert clock.time() == pytest.approx(1_001_000, abs=2)

    async def test_a_sleeper_is_woken_by_a_skip(self):
        clock = WarpClock(0.0, speed=SLOWLY)
        sleeper = asyncio.create_task(clock.sleep(3600))
        await asyncio.sleep(0)
        await clock.skip(clock.monotonic() + 3601, lambda: None)
        assert sleeper.done()

    async def test_a_cancelled_timer_is_not_run(self):
        clock = WarpClock(0.0, speed=SLOWLY)
        seen: list[int] = []
        clock.call_at(clock.monotonic() + 10, lambda: seen.append(1)).cancel()
        await clock.skip(clock.monotonic() + 20, lambda: None)
        assert seen == []

    async def test_between_skips_it_runs_at_its_speed(self):
        clock = WarpClock(0.0, speed=1000.0)
        began = clock.monotonic()
        await clock.sleep(10.0)
        assert clock.monotonic() - began >= 10.0

    async def test_every_jump_is_announced(self):
        clock = WarpClock(0.0, speed=SLOWLY)
        clock.call_at(clock.monotonic() + 10, lambda: None)
        jumps: list[float] = []
        await clock.skip(clock.monotonic() + 20, lambda: jumps.append(clock.monotonic()))
        assert len(jumps) == 2


class TestWorkload:
    def test_it_is_the_same_every_time(self):
        assert Workload().steps() == Workload().steps()

    def test_a_storm_asks_more_often_than_the_calm(self):
        rounds = [
            s.at for s in Workload(hours=1.0).steps() if s.kind == "round" and s.instance == 0
        ]
        calm = sum(at < 900 for at in rounds)
        storm = sum(1800 <= at < 2700 for at in rounds)
        assert storm >= 3.5 * calm

    def test_every_instance_is_restarted_and_the_outage_ends(self):
        kinds = [(s.kind, s.instance) for s in Workload().steps() if s.kind != "round"]
        assert kinds == [("restart", 0), ("outage", -1), ("recovery", -1), ("restart", 1)]

    @given(st.integers(1, 200))
    def test_it_has_as_many_symbols_as_asked_for(self, symbols):
        names = Workload(symbols=symbols).names
        assert len(set(names)) == symbols

    def test_latencies_are_scaled_like_time(self):
        one = Workload(speed=1.0).sandbox()["latency"]["alpaca"]
        ten = Workload(speed=10.0).sandbox()["latency"]["alpaca"]
        assert one["median"] == pytest.approx(10 * ten["median"])
        assert one["stall"] == pytest.approx(10 * ten["stall"])


class TestVariants:
    def test_each_layer_is_left_out_and_those_that_act_alone_are_alone(self):
        found = {v.name: v for v in variants(["cache", "race", "metrics"])}
        assert list(found) == ["baseline", "all", "none", "+cache", "-cache", "-race"]
        assert found["baseline"].baseline
        assert found["all"].layers == ("cache", "race")
        assert found["-cache"].layers == ("race",)
        assert found["none"].layers == ()

    def test_quick_is_baseline_and_all(self):
        assert [v.name for v in variants(["cache"], quick=True)] == ["baseline", "all"]

    def test_what_is_run_once_and_what_takes_long_is_left_out_of_later_seeds(self):
        names = [[v.name for v in variants(["cache", "race"], turn=turn)] for turn in (1, 2, 3)]
        early = ["baseline", "all", "-cache", "-race"]
        assert [early, early, ["baseline", "all", "-race"]] == names

    def test_each_is_explained_in_words(self):
        found = {v.name: explained(v.name) for v in variants(["cache", "race", "similarity"])}
        assert len(found) == len(set(found.values()))
        assert "all layers but `race`" == found["-race"]
        assert "`cache` alone" == found["+cache"]


class TestRunning:
    def test_the_users_flags_and_state_are_hidden(self, monkeypatch):
        monkeypatch.setenv("ARGO_MW_FLAG_CACHE", "off")
        monkeypatch.setenv("ARGO_MW_STATE_DIR", "mine")
        with isolated():
            assert [] == [name for name in os.environ if name.startswith("ARGO_MW_")]
        assert ("off", "mine") == (
            os.environ["ARGO_MW_FLAG_CACHE"],
            os.environ["ARGO_MW_STATE_DIR"],
        )

    def test_the_pilot_is_of_all_layers_which_wait_the_least(self, monkeypatch):
        tried: list[str] = []

        async def installed() -> list[str]:
            return ["cache", "race"]

        def try_all(workload, wanted, layers, say):
            tried.extend(variant.name for variant in wanted[workload.seed])
            return {}

        monkeypatch.setattr(running, "installed_layers", installed)
        monkeypatch.setattr(running, "_run_all", try_all)
        assert paced(Workload(), say=lambda _: None).speed > 0
        assert ["all"] == tried

    @pytest.mark.parametrize("option", ["--json", "--html"])
    def test_an_unwritable_report_is_refused_before_anything_runs(
        self, monkeypatch, tmp_path, option
    ):
        monkeypatch.setattr(running, "run", None)
        done = CliRunner().invoke(compare, ["--speed", "1", option, str(tmp_path / "no" / "file")])
        assert 2 == done.exit_code
        assert "cannot be written: make its folder, or choose another" in done.output

    def test_a_comparison_needs_the_baseline_and_all_layers(self):
        with pytest.raises(ConfigError, match="nothing to compare: baseline left out"):
            baseline_and_all([figures(Observations(Variant("all")))])


def of(variant: str, **known: float | None) -> Figures:
    """Return figures of *variant* of which only some are known."""
    return evolve(figures(Observations(Variant(variant))), **known)


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


async def test_the_baseline_keeps_answers_for_two_minutes_and_one_off_hours(tmp_path):
    clock = FakeClock(wall=1_361_804_400.0)  # Monday 25 February 2013, 15:00 UTC
    upstream = Scripted("vendor", {"bars"}, Outcome("bars", cost=Cost(requests=1.0)))
    plugins = {
        "baseline": Baseline(tmp_path / "old.db"),
        "asked": FakePlugin(operations=[bars], upstreams=[upstream]),
    }
    config = {"argo": {"shared": "memory://", "strict": True}}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:

        async def asked_after(seconds: float) -> int:
            await clock.advance(seconds)
            await argo.call("bars", symbol="AAPL")
            return upstream.requests

        assert await asked_after(0) == 1
        assert await asked_after(119) == 1
        assert await asked_after(2) == 2
        clock.set_wall(1_361_834_000.0)
        assert await asked_after(121) == 3
        assert await asked_after(59) == 3
        assert await asked_after(2) == 4
        hit = await argo.outcome("bars", symbol="AAPL")
        assert hit.cost.requests == 0


class TestFigures:
    def test_percentiles_are_nearest_ranks(self):
        assert percentile(list(range(1, 101)), 99) == 99
        assert percentile([5.0], 50) == 5.0
        assert percentile([], 50) is None

    def test_the_price_error_is_the_root_mean_square_in_basis_points(self):
        asked = [
            AskedSignal(0, "A", 0.1, price=100.10, truth=100.0),
            AskedSignal(0, "B", 0.1, price=99.90, truth=100.0),
            AskedSignal(0, "C", 0.1, error="no answer"),
        ]
        assert error_bp(asked) == pytest.approx(10.0)

    def test_a_hit_is_a_signal_that_asked_no_upstream(self):
        asked = [AskedSignal(0, "A", 0.1, missed=number == 0) for number in range(4)]
        found = figures(Observations(Variant("all"), asked))
        assert found.hit_rate == 0.75
        assert found.p50_miss_ms == pytest.approx(100)

    def test_a_model_costs_by_its_price_list_and_what_was_cancelled_like_the_rest(self):
        tokens = {"input": 1000, "output": 100, "cache_read": 10_000}
        counts = {"requests": 5, "answered": 4, "disconnects": 1, "tokens": tokens}
        assert usd((2.0, 6.0, 0.25), counts) == pytest.approx(1.25 * 0.0051)

    def test_a_ratio_of_nothing_is_none(self):
        before = figures(Observations(Variant("baseline"), [AskedSignal(0, "A", 0.2)]))
        after = figures(Observations(Variant("all"), [AskedSignal(0, "A", 0.1)]))
        found = summarize({"baseline": {0: before}, "all": {0: after}})
        assert found["p50_ratio"] == 0.5
        assert found["p50_ratio_interval"] is None
        assert found["usd_ratio"] is None

    def test_the_summary_compares_the_means_of_the_seeds_with_each_beside_it(self):
        seeds = {
            "baseline": {seed: of("baseline", requests=one) for seed, one in enumerate((10, 30))},
            "all": {seed: of("all", requests=one) for seed, one in enumerate((9, 3))},
        }
        found = summarize(seeds)
        assert found["calls_ratio"] == 0.3
        assert found["calls_ratio_by_seed"] == [0.9, 0.1]
        low, high = found["calls_ratio_interval"]
        assert low < 0.3 < high

    def test_the_mean_of_several_seeds_leaves_out_what_was_not_measured(self):
        found = means([of("all", requests=2, usd=None), of("all", requests=4, usd=0.5)])
        assert (3.0, 0.5) == (found.requests, found.usd)
        assert found.write_ms is None

    @pytest.mark.parametrize(
        ("cpu", "found"), [(0.02, "at most 5 % of"), (0.2, "more than 5 % of .*: <b>")]
    )
    def test_a_remark_says_whether_our_cpu_distorts_latencies(self, cpu, found):
        columns = [
            figures(Observations(Variant("<b>"), [AskedSignal(0, "A", 0.2)], cpu=cpu, waited=1.0))
        ]
        assert re.search(f"Our CPU took {found}", " ".join(remarks(Workload(), columns, {})))

    def test_the_page_is_self_contained(self):
        columns = [figures(Observations(Variant("<b>"), [AskedSignal(0, "A", 0.2)]))]
        made = page(tables_of(Workload(), columns, {"all": 1}, {"p50_ratio": None}))
        assert isinstance(columns[0], Figures)
        assert "<b>" not in made
        assert "http" not in made
