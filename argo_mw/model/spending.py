"""Spending limits that travel with a call, beside those of the configuration."""

from __future__ import annotations

import math
from typing import Any, Literal

from attrs import Attribute, field, frozen

SPENDING_LIMIT = "argo.spending_limit"
"""The extension with the :class:`SpendingLimit` of the client that a call is asked for.

Guards that count money keep it like a limit of the configuration, in the shared store.
"""


def _is_an_amount(limit: SpendingLimit, _: Attribute[Any], usd: Any) -> None:
    if not (math.isfinite(usd) and usd >= 0):
        msg = f"the spending limit of {limit.name!r} is ${usd}; give a number of US dollars"
        raise ValueError(msg)


@frozen
class SpendingLimit:
    """A limit of what calls of one origin may cost together.

    Attributes:
        name: The name of their origin, such as a client's key: what they cost is counted by it.
        usd: US dollars.
        per: The period after which it begins again: a UTC ``day`` or ``month``, or ``ever`` for
            never.
    """

    name: str
    usd: float = field(converter=float, validator=_is_an_amount)
    per: Literal["day", "month", "ever"] = "day"
