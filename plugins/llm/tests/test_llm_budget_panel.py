"""The panel of budgets: what is left of each in this period."""

from __future__ import annotations

from pathlib import Path

from argo_mw import Argo
from argo_mw.plugin import View, context_of
from argo_mw.testing import FakeClock
from argo_mw_llm import LlmPlugin
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.counters import NANO, period_of
from argo_mw_llm.config import Budget


async def test_what_is_left_of_each_budget_is_shown(tmp_path: Path) -> None:
    clock = FakeClock()
    budgets = [
        {"usd": 10.0},
        {"usd": 1.0, "per": "month", "tenant": "desk", "model": "claude"},
        {"usd": 5.0, "per": "ever", "model": "glm", "then": "warn"},
        *({"usd": 2.0, name: "*"} for name in ("tenant", "model", "tenant", "model")),
    ]
    config = {
        "argo": {"shared": "memory://", "state_dir": str(tmp_path)},
        "plugins": {"llm": {"budgets": budgets}},
    }
    plugins = {"llm": LlmPlugin()}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        context = context_of(argo)
        keys = [period_of(Budget(**one), "", "", clock.time()).key for one in budgets[:3]]
        await context.shared.add(keys[0], round(2.5 * NANO))
        await context.shared.add(keys[1], round(0.95 * NANO))
        await context.shared.add(keys[2] + STOPPED, 1)
        view = await context.panels.read_here(fleet=True)
    shown = view["llm.budgets"]
    assert isinstance(shown, View)
    assert [line.cells for line in shown.lines] == [
        ("per day, all tenants, all models", 10.0, 2.5, 7.5, "refuse", ""),
        ("per month, tenant 'desk', claude", 1.0, 0.95, 1.0 - 0.95, "refuse", "low"),
        ("per ever, all tenants, glm", 5.0, 0.0, 5.0, "warn", "stopped"),
    ]
    assert [line.tone for line in shown.lines] == ["", "warn", "bad"]
    assert shown.text.startswith("4 more are kept for each by itself")
