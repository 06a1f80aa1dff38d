"""Scope of budgets: which of them apply to a call, by its tenant, provider and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from argo_mw.plugin import SPENDING_LIMIT, Call, SpendingLimit
from argo_mw_llm.budgets.counters import OwnBudget
from argo_mw_llm.config import MAX_USD, Budget
from argo_mw_llm.costs.families import families_of, family_of, root_of
from argo_mw_llm.costs.prices import ANY, Prices
from argo_mw_llm.providers.profiles import Profile


class BudgetScope:
    """The configured budgets, and the calls they apply to.

    Args:
        budgets: The configured budgets.
        prices: The prices of tokens.
        profiles: The providers, by name.
    """

    def __init__(
        self, budgets: Sequence[Budget], prices: Prices, profiles: Mapping[str, Profile]
    ) -> None:
        self._budgets = budgets
        self._prices = prices
        self._profiles = profiles
        self._families = {family_of(name) for name in prices.known}
        self._vendors = {root_of(name) for name in prices.known} | profiles.keys()

    @property
    def unknown(self) -> list[str]:
        """The models in budgets that no known model, provider or vendor has as its name."""
        named = {one.model for one in self._budgets} - {"", "*"}
        return sorted(n for n in named if not (family_of(n) in self._vendors or self._is_priced(n)))

    def of(self, call: Call, provider: str, model: str) -> list[Budget]:
        """Return the budgets that apply to *call*: configured ones, and one that it may carry.

        Args:
            call: The call.
            provider: The provider that is asked.
            model: The model that is asked.
        """
        found = [one for one in self._budgets if self._holds(one, call.tenant, provider, model)]
        own = own_budget(call)
        return found if own is None else [*found, own]

    def _holds(self, budget: Budget, tenant: str, provider: str, model: str) -> bool:
        if budget.tenant not in ("", "*", tenant):
            return False
        if budget.model in ("", "*") or family_of(budget.model) in families_of(model):
            return True
        vendor, asked = root_of(budget.model), {*map(root_of, families_of(model)), provider}
        if not self._is_priced(budget.model):
            # A vendor, for all of its models; or an unknown name, which may mean any of them.
            return vendor not in self._vendors or vendor in asked
        # An unknown model may be another name for the model of the budget.
        its_own = vendor in asked or self._profiles[provider].has(budget.model)
        return self._prices.of(model, provider) is None and its_own

    def _is_priced(self, model: str) -> bool:
        """Return whether any provider's price of *model* is known."""
        if self._prices.of(model) is not None or family_of(model) in self._families:
            return True
        own = self._prices.providers
        return any(ANY in own.get(p.name, {}) and p.has(model) for p in self._profiles.values())


def own_budget(call: Call) -> Budget | None:
    """Return the budget that *call* carries, or ``None``."""
    limit = call.extensions.get(SPENDING_LIMIT)
    if limit is None:
        return None
    assert isinstance(limit, SpendingLimit), f"{SPENDING_LIMIT} is a SpendingLimit"
    return OwnBudget(min(limit.usd, MAX_USD), limit.per, name=limit.name)
