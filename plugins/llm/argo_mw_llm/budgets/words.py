"""Messages about budgets: their names, and why they refuse a call."""

from __future__ import annotations

from argo_mw.plugin import BudgetExceeded, dollars
from argo_mw_llm.budgets.counters import NANO, OwnBudget, Period, limit_of
from argo_mw_llm.config import Budget

_WHY_STOPPED = (
    "is stopped, because a request cost more than its upper bound; once you know why, run "
    "`argo-mw budgets --lift`"
)


def cannot_be_kept(budget: Budget, why: str) -> str:
    """Return the message that *budget* cannot be kept, and *why*."""
    return f"{why}, so the {named(budget)} cannot be kept"


def count_lost(budget: Budget) -> str:
    """Return the message that the count of *budget* was lost."""
    return f"the shared store has lost what was spent of the {named(budget)}"


def left_of(budget: Budget, spent: int, model: str, usd: float) -> str:
    """Return the message what *budget* has left after *spent*, and what a call may cost."""
    left = max(0, limit_of(budget) - spent) / NANO
    return (
        f"the {named(budget)} has ${dollars(left)} left, and this call of {model} may cost "
        f"${dollars(usd)}"
    )


def refused_while_stopped(budget: Budget, period: Period) -> BudgetExceeded:
    """Return the refusal of *budget*, which is stopped in *period*."""
    return BudgetExceeded(f"the {named(budget)} {_WHY_STOPPED}", retry_at=period.ends)


def advice(budget: Budget) -> str:
    """Return what a caller can do that *budget* refuses."""
    if isinstance(budget, OwnBudget):
        return "give max_tokens, or have it raised"
    return "raise it in [[plugins.llm.budgets]], or give max_tokens"


def named(budget: Budget) -> str:
    """Return the name of *budget* in messages."""
    if isinstance(budget, OwnBudget):
        return f"budget of ${budget.usd:g} per {budget.per} of {budget.name}"
    whose = f" of tenant {budget.tenant!r}" if budget.tenant else ""
    which = f" for {budget.model}" if budget.model else ""
    return f"budget of ${budget.usd:g} per {budget.per}{whose}{which}"
