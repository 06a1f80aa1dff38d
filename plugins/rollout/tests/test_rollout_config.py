"""Plans are read, and refused when they cannot mean what is written."""

import pytest

from argo_mw.plugin import ConfigError, structure
from argo_mw_rollout.config import Plan, RolloutConfig, Stage, duration, stages


def test_a_plan_has_steps_by_default() -> None:
    assert ["shadow", "1%", "5%", "25%", "50%", "on"] == [s.setting for s in Plan().stages]
    assert 1800.0 == Plan().seconds


def test_steps_are_read() -> None:
    assert [Stage("shadow", 0.0), Stage("percent", 2.5), Stage("on", 100.0)] == stages(
        ["shadow", "2.5 %", "on"]
    )


@pytest.mark.parametrize(
    "steps", [[], ["5"], ["0%"], ["100%"], ["off"], ["5%", "5%"], ["on", "1%"]]
)
def test_steps_that_mean_nothing_are_refused(steps: list[str]) -> None:
    with pytest.raises(ConfigError):
        Plan(steps)


@pytest.mark.parametrize(
    ("written", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("1.5 h", 5400.0), ("2d", 172_800.0)]
)
def test_lengths_of_time_are_read(written: str, seconds: float) -> None:
    assert seconds == duration(written)


def test_a_length_of_time_without_a_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match="write 90s, 30m, 2h or 1d"):
        Plan(at_least="30")


def test_a_metric_that_does_not_exist_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(ConfigError, match="guardrails has no metric 'eror'.*errors"):
        Plan(guardrails={"eror": 0.1})
    with pytest.raises(ConfigError, match="signals has no metric 'wrong'"):
        Plan(signals=["wrong"])


def test_the_rules_of_a_plan_share_alpha_among_its_shares() -> None:
    assert 4 == Plan().rules.steps
    assert 1 == Plan(["shadow", "on"]).rules.steps


def test_a_margin_of_zero_leaves_a_metric_out() -> None:
    rules = Plan(guardrails={"usd": 0.0, "errors": 0.01}).rules

    assert "usd" not in rules.guardrails
    assert 0.01 == rules.guardrails["errors"].margin
    assert 0.05 == rules.guardrails["requests"].margin


def test_the_table_is_read() -> None:
    table = {"plans": {"race": {"steps": ["5%", "on"], "at_least": "1h"}}, "baseline": "2h"}

    config = structure(table, RolloutConfig, where="argo.toml [plugins.rollout]")

    assert ["5%", "on"] == list(config.plans["race"].steps)
