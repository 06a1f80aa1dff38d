"""The layer: which strategy a call gets, and what it comes to."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from argo_mw.plugin import AnyOperation, Call, Context, Next, Outcome, Unsupported, Upstream
from argo_mw_race.config import RaceConfig, Strategy
from argo_mw_race.contest import NAME, Branch, Contest
from argo_mw_race.record import Tally
from argo_mw_race.standings import Plan, Standings
from argo_mw_race.strategies import best, hedge, race


class Race:
    """Asks several upstreams for one answer.

    Args:
        config: What is configured.
        context: What the framework gives.
        chance: Where probes are drawn from.
    """

    def __init__(
        self, config: RaceConfig, context: Context, chance: random.Random | None = None
    ) -> None:
        self._config = config
        self._context = context
        self._chance = chance or random.Random()
        self._standings: dict[str, Standings] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """The winner's outcome."""
        standings = self.standings(call.operation)
        strategy = self._strategy(call, standings)
        able, unable = self._upstreams(call)
        if strategy == "fallback" or len(able) < 2:
            return await call_next(call)
        plan = standings.plan(able) if strategy == "hedge" else Plan(standings.order(able))
        standings.budget.deposit()
        contest = Contest(
            call,
            call_next,
            plan.order,
            context=self._context,
            standings=standings,
            reap_timeout=self._config.reap_timeout,
            unable=unable,
        )
        winner: Branch | None = None
        try:
            winner = await self._hold(strategy, contest, plan, standings, call)
            return contest.result(winner, strategy)
        finally:
            contest.conclude(winner)

    def standings(self, operation: AnyOperation) -> Standings:
        """What is known about the upstreams of *operation*."""
        standings = self._standings.get(operation.name)
        if standings is None:
            standings = self._standings[operation.name] = Standings(
                operation, self._config, self._context.clock, self._chance
            )
        return standings

    def tallies(self, call: Call) -> Mapping[str, Tally]:
        """What happened to the upstreams of *call*'s operation so far, by name."""
        standings = self.standings(call.operation)
        return {u.name: standings.record(u).tally for u in self._context.upstreams(call)}

    def explain(self, call: Call) -> str:
        """Whom *call* would ask now, and why."""
        standings = self.standings(call.operation)
        strategy = self._strategy(call, standings)
        able, unable = self._upstreams(call)
        reasons = "".join(f"; {reason}" for reason in unable)
        if len(able) < 2:
            who = f"{able[0].name} alone can answer" if able else "no upstream can answer"
            return f"nothing to choose from: {who}{reasons}"
        if strategy == "fallback":
            return f"one after the other: {', '.join(one.name for one in able)}{reasons}"
        plan = standings.ranked(able)
        told = ", ".join(standings.describe(one) for one in plan.order)
        if strategy != "hedge":
            return f"{strategy}: at once {told}{reasons}"
        budget = standings.budget.balance
        return (
            f"hedge: first {told}; the next after {plan.patience:.3g} s, "
            f"{budget:.1f} hedges in the budget{reasons}"
        )

    def _upstreams(self, call: Call) -> tuple[Sequence[Upstream], Sequence[Unsupported]]:
        """The upstreams that can answer *call*, and why the others cannot."""
        able: list[Upstream] = []
        unable: list[Unsupported] = []
        for one in self._context.upstreams(call):
            reason = None if one.unsupported is None else one.unsupported(call)
            if reason is None:
                able.append(one)
            else:
                unable.append(Unsupported(f"upstream {one.name!r} {reason}", upstream=one.name))
        return able, unable

    def _strategy(self, call: Call, standings: Standings) -> Strategy:
        strategy = standings.rules.strategy
        if strategy == "best" and call.operation.score is None:
            self._context.warn_once(
                NAME,
                f"{call.operation.name} has no score, so its upstreams are raced; give the "
                "operation one, or configure another strategy than 'best'",
            )
            return "race"
        return strategy

    async def _hold(
        self, strategy: Strategy, contest: Contest, plan: Plan, standings: Standings, call: Call
    ) -> Branch:
        match strategy:
            case "race":
                return await race(contest, plan, standings)
            case "best":
                return await best(contest, plan, standings, call, self._context)
            case _:
                return await hedge(contest, plan, standings)
