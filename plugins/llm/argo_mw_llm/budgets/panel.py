"""The panel: what is left of each budget in this period."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from argo_mw.plugin import Column, Context, Line, Panel, Tone, View
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.counters import NANO, period_of
from argo_mw_llm.config import Budget

_LOW = 0.1
"""A budget with less than this share left is shown as low."""


def budget_panel(context: Context, budgets: Callable[[], Sequence[Budget]]) -> Panel:
    """Return the panel of the configured *budgets*."""

    async def read() -> View:
        now = context.clock.time()
        named = [one for one in budgets() if "*" not in (one.tenant, one.model)]
        keys = [period_of(one, "", "", now).key for one in named]
        values = await context.shared.get_many([*keys, *(key + STOPPED for key in keys)])
        counts, stops = values[: len(keys)], values[len(keys) :]
        lines = [
            _line(one, int(count or 0) / NANO, stopped=stop is not None)
            for one, count, stop in zip(named, counts, stops, strict=True)
        ]
        apart = len(budgets()) - len(named)
        text = f"{apart} more are kept for each by itself: `argo-mw budgets` lists them"
        return View(lines, text=text if apart else "")

    columns = (
        "budget",
        Column("limit", "USD"),
        Column("booked", "USD"),
        Column("left", "USD"),
        "when used up",
        "state",
    )
    return Panel("llm.budgets", "Budgets of language models", columns, read, fleet=True)


def _line(budget: Budget, booked: float, *, stopped: bool) -> Line:
    left = max(0.0, budget.usd - booked)
    whose = f"tenant {budget.tenant!r}" if budget.tenant else "all tenants"
    name = f"per {budget.per}, {whose}, {budget.model or 'all models'}"
    tone: Tone = "warn" if left < _LOW * budget.usd else ""
    state = "low" if tone else ""
    if stopped or not left:
        tone, state = "bad", "stopped" if stopped else "used up"
    cells = (name, budget.usd, booked, left, budget.then, state)
    return Line(cells, tone=tone)
