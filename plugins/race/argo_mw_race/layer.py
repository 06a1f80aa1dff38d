"""The layer: which strategy a call gets, and what comes of it."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping, Sequence

from argo_mw.plugin import AnyOperation, Call, Context, Next, Outcome, Unsupported, Upstream
from argo_mw_race.branch import Branch
from argo_mw_race.config import RaceConfig, Strategy
from argo_mw_race.fan_out import NAME, FanOut
from argo_mw_race.ranking import Plan, Ranking
from argo_mw_race.stats import Tally
from argo_mw_race.strategies import best, hedge, race
from argo_mw_race.winner import winning_outcome


class Race:
    """Asks several upstreams for one answer.

    Args:
        config: The plugin's configuration.
        context: The application's context.
        rng: Draws the calls that probe.
    """

    def __init__(
        self, config: RaceConfig, context: Context, rng: random.Random | None = None
    ) -> None:
        self._config = config
        self._context = context
        self._rng = rng or random.Random()
        self._rankings: dict[str, Ranking] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the winner's outcome."""
        if len(self._context.upstreams(call)) < 2:
            return await call_next(call)
        ranking = self.ranking(call.operation)
        strategy = self._strategy(call, ranking)
        able, unsupported = self._upstreams(call)
        if strategy == "fallback" or len(able) < 2:
            return await call_next(call)
        plan = ranking.plan(able) if strategy == "hedge" else Plan(ranking.ordered(able))
        fan_out = FanOut(
            call,
            call_next,
            plan.order,
            context=self._context,
            ranking=ranking,
            cancel_timeout=self._config.cancel_timeout,
            unsupported=unsupported,
        )
        winner: Branch | None = None
        try:
            winner = await self._find_winner(strategy, fan_out, plan, ranking, call)
            return winning_outcome(winner, fan_out.branches, strategy, fan_out.now())
        finally:
            fan_out.conclude(winner)

    def ranking(self, operation: AnyOperation) -> Ranking:
        """Return what is known about the upstreams of *operation*."""
        ranking = self._rankings.get(operation.name)
        if ranking is None:
            ranking = self._rankings[operation.name] = Ranking(
                operation, self._config, self._context.clock, self._rng
            )
        return ranking

    @property
    def rankings(self) -> Mapping[str, Ranking]:
        """What is known about upstreams, by operation."""
        return self._rankings

    def tallies(self, call: Call) -> Mapping[str, Tally]:
        """Return what happened to the upstreams of *call*'s operation so far, by name."""
        ranking = self.ranking(call.operation)
        return {u.name: ranking.stats(u).tally for u in self._context.upstreams(call)}

    def explain(self, call: Call) -> str:
        """Describe which upstreams *call* would ask now, and why."""
        ranking = self.ranking(call.operation)
        strategy = self._strategy(call, ranking)
        able, unsupported = self._upstreams(call)
        reasons = "".join(f"; {reason}" for reason in unsupported)
        if len(able) < 2:
            only = f"{able[0].name} alone can answer" if able else "no upstream can answer"
            return f"nothing to choose from: {only}{reasons}"
        if strategy == "fallback":
            return f"one after the other: {', '.join(one.name for one in able)}{reasons}"
        plan = ranking.plan_without_probe(able)
        described = ", ".join(ranking.describe(one) for one in plan.order)
        if strategy != "hedge":
            return f"{strategy}: at once {described}{reasons}"
        return (
            f"hedge: first {described}; the next after {plan.hedge_delay:.3g} s, "
            f"{ranking.budget.balance:.1f} hedges in the budget{reasons}"
        )

    def _upstreams(self, call: Call) -> tuple[Sequence[Upstream], Sequence[Unsupported]]:
        """Return the upstreams that can answer *call*, and why the others cannot."""
        able: list[Upstream] = []
        unsupported: list[Unsupported] = []
        for one in self._context.upstreams(call):
            reason = None if one.unsupported is None else one.unsupported(call)
            if reason is None:
                able.append(one)
            else:
                msg = f"upstream {one.name!r} {reason}"
                unsupported.append(Unsupported(msg, upstream=one.name))
        return able, unsupported

    def _strategy(self, call: Call, ranking: Ranking) -> Strategy:
        strategy = ranking.rules.strategy
        if strategy == "best" and call.operation.score is None:
            self._context.warn_once(
                NAME,
                f"{call.operation.name} has no score, so its upstreams are raced; give the "
                "operation one, or configure another strategy than 'best'",
            )
            return "race"
        return strategy

    def _find_winner(
        self, strategy: Strategy, fan_out: FanOut, plan: Plan, ranking: Ranking, call: Call
    ) -> Coroutine[object, object, Branch]:
        match strategy:
            case "race":
                return race(fan_out, plan, ranking)
            case "best":
                return best(fan_out, plan, ranking, call, self._context)
            case _:
                return hedge(fan_out, plan)
