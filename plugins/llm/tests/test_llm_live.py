"""``argo-mw doctor --live`` and the providers: what it asks, what that costs, and who may forbid it."""

from __future__ import annotations

from argo_mw.cli import live
from argo_mw_sandbox import Sandbox

from .conftest import PROVIDERS, OpenArgo


async def test_every_provider_is_asked_for_a_word_and_costs_no_more_than_was_said(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo() as argo:
        questions, _ = live.plan(argo)
        assert sorted(PROVIDERS) == [one.call.upstream for one in questions]
        most = {one.call.upstream: one.probe.most_usd() for one in questions}
        assert all("at most 0.00" in one.cost for one in questions)
        findings = await live.ask(questions)
    for one in findings:
        assert one.well, one.found
        assert 1 == sandbox.counts()[one.where]["requests"]
        usd = float(one.found.partition(" for ")[2].partition(" USD")[0])
        assert 0.0 < usd <= (most[one.where] or 0.0)


async def test_a_budget_that_is_used_up_forbids_the_question(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(budgets=[{"usd": 1e-9, "per": "day"}]) as argo:
        questions, _ = live.plan(argo)
        findings = await live.ask(questions)
    assert all("BudgetExceeded" in one.found for one in findings)
    assert {0} == {sandbox.counts()[name]["requests"] for name in PROVIDERS}
