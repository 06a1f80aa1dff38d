"""Plans: what can be a ramp, and what is refused with the reason."""

from __future__ import annotations

import pytest

from argo_mw import ConfigError
from argo_mw.plugin import structure
from argo_mw_rollout.config import RolloutConfig
from argo_mw_rollout.plan import Plan, percent_of
from argo_mw_rollout.statistics import GUARDRAILS


@pytest.mark.parametrize("written", ["", "30", "m", "-1m"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="not a duration"):
        structure({"plans": {"race": {"at_least": written}}}, RolloutConfig, where="plan")


def test_shares_are_read() -> None:
    assert [percent_of(step) for step in ("shadow", "0.5%", "25 %", "on")] == [
        None, 0.5, 25.0, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [
        {"steps": []},
        {"steps": ["on", "5%"]},
        {"steps": ["5%", "shadow"]},
        {"steps": ["5%", "1%"]},
        {"steps": ["0%"]},
        {"steps": ["100%"]},
        {"steps": ["half"]},
        {"at_least": "soon"},
        {"by": "weather"},
        {"guardrails": {"erors": 0.1}},
        {"guardrails": {"errors": 0.0}},
        {"guardrails": {"errors": float("nan")}},
        {"without": ["erors"]},
        {"signals": ["erors"]},
        {"stepz": ["on"]},
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        structure({"plans": {"race": table}}, RolloutConfig, where="argo.toml [plugins.rollout]")


def test_a_misspelt_guardrail_is_named_with_the_likely_one() -> None:
    table = {"plans": {"race": {"guardrails": {"erors": 0.1}}}}
    with pytest.raises(ConfigError, match="errors"):
        structure(table, RolloutConfig, where="argo.toml [plugins.rollout]")


def test_a_plan_changes_some_margins_and_leaves_the_others() -> None:
    plan = Plan(guardrails={"errors": 0.01}, without=("usd",))
    assert plan.margins["errors"].margin == 0.01
    assert plan.margins["slow"] == GUARDRAILS["slow"]
    assert "usd" not in plan.margins


def test_a_plan_that_is_read_back_is_equal() -> None:
    plan = Plan(("5%", "on"), "1h", "1m", "2m", "tenant", {"usd": 0.1}, ("wrong",), ("usd",), 5, 4)
    assert Plan.of_data(plan.as_data()) == plan


@pytest.mark.parametrize("data", [{}, {"steps": 3}])
def test_data_of_another_form_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Plan.of_data(data)
