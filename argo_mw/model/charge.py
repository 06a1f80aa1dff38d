"""Charges: what the calls of settled requests cost, and the table that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from attrs import frozen

from argo_mw.model.outcome import Cost

ChargeStatus = Literal["ok", "failed", "refused", "cancelled", "aborted", "saved"]
"""How a call ended: ``aborted`` is a stream that broke off, ``saved`` an answer that cost nothing
because a layer had it."""


@frozen
class Charge:
    """What one call of a request cost, or what a layer saved.

    Attributes:
        at: Seconds since the epoch at which the request was settled.
        tenant: The tenant of the call.
        operation: The operation's name.
        subject: What the call was about, or "".
        upstream: The upstream that was asked.
        status: How the call ended.
        cost: Its share of the request's cost; of a saving, what was not spent.
        latency: Seconds from sending the request to its answer.
        layer: The layer that saved the cost, or "" for a request that was sent.
    """

    at: float
    tenant: str
    operation: str
    subject: str
    upstream: str
    status: ChargeStatus
    cost: Cost
    latency: float = 0.0
    layer: str = ""


@frozen
class CostTotals:
    """What the charges of one UTC day, and of one of everything else, add up to.

    Attributes:
        day: The UTC day, such as ``2026-11-23``.
        tenant: The tenant.
        operation: The operation's name.
        subject: What the calls were about, or "".
        upstream: The upstream.
        model: Which of the upstream's models answered, or "".
        layer: The layer that saved the costs, or "" for requests that were sent.
        calls: How many charges.
        failed: How many of them brought no answer.
        estimated: How many of them are estimates.
        unpriced: How many have no known price.
        requests: Requests charged to quotas; calls may share one.
        tokens_in: Tokens sent.
        tokens_cached: Those of them that the upstream read from its own cache.
        tokens_out: Tokens received.
        usd: United States dollars, of the charges whose price is known.
        latency: Seconds, added up.
        estimate_error: Relative errors of the estimates of *tokens_in*, added up.
        compared: How many errors that are.
    """

    day: str
    tenant: str
    operation: str
    subject: str
    upstream: str
    model: str
    layer: str
    calls: int
    failed: int
    estimated: int
    unpriced: int
    requests: float
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    usd: float
    latency: float
    estimate_error: float
    compared: int


class CostTable(Protocol):
    """Where charges are kept: what a plugin answers to ``register_cost_table``.

    Each charge is kept by one table: by the first that takes it, those that stand in coming last.

    Attributes:
        stand_in: Whether it takes only what no other plugin's table takes.
    """

    @property
    def stand_in(self) -> bool: ...

    def record(self, charge: Charge) -> None:
        """Take *charge*, to be written soon; called on the event loop, so it must not block.

        Raises:
            Exception: It cannot be taken; the next table is tried.
        """

    async def totals(self, since: float) -> Sequence[CostTotals]:
        """Return the totals of what was taken, from the UTC day of *since* on.

        Args:
            since: Seconds since the epoch.
        """

    async def identity(self) -> str:
        """Return a name that no other table has, or "" where all machines write to one table.

        With a name, the table's totals are shared with the other machines.
        """
