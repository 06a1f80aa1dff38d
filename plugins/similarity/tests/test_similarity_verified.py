"""The policy ``verified``: the curve that it fits, the bound that it keeps, and what it compares."""

from __future__ import annotations

import asyncio
import math
import random

import numpy as np
import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import ConfigError, Outcome
from argo_mw.plugin import Call, LayerActed, PluginError, context_of
from argo_mw.store import TagSnapshot, snapshot
from argo_mw.testing import capture_events
from argo_mw_similarity import SimilarityConfig
from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.opinions.agreement import agree
from argo_mw_similarity.opinions.curve import fit, shift_of, sigmoid
from argo_mw_similarity.opinions.evidence import Pools, pool_of
from argo_mw_similarity.opinions.verifier import _Served
from argo_mw_similarity.prompt import Prompt
from argo_mw_similarity.search.finder import Match

from .test_similarity_judge import ASKED, KNOWN, OTHER, Desk, audited, notes

# The curve


def test_without_a_prior_the_curve_goes_through_two_shares() -> None:
    """Of two scores, the most likely log-odds are those of the shares themselves."""
    curve = fit(np.array([0.7, 0.9]), np.array([2.0, 18.0]), np.array([8.0, 2.0]), prior=0.0)
    assert pytest.approx(math.log(2 / 8)) == curve.log_odds(0.7)
    assert pytest.approx(math.log(18 / 2)) == curve.log_odds(0.9)


def test_its_uncertainty_is_that_of_the_shares() -> None:
    """The variance of the log-odds of k in n is 1/k + 1/(n - k)."""
    curve = fit(np.array([0.7, 0.9]), np.array([2.0, 18.0]), np.array([8.0, 2.0]), prior=0.0)
    spread = math.sqrt(1 / 18 + 1 / 2)
    assert pytest.approx(sigmoid(math.log(9) - 2 * spread)) == curve.least(0.9, 2.0)


def test_a_fit_by_another_program_is_the_same() -> None:
    """For 20 pairs at five scores, the seeds and the prior: by ``scipy.optimize.minimize``."""
    scores = np.array([0.72, 0.8, 0.86, 0.91, 0.97])
    right, wrong = np.array([0.0, 1, 2, 5, 6]), np.array([2.0, 2, 1, 1, 0])
    curve = fit(scores, right, wrong)
    assert pytest.approx([0.39149615, 2.55509768], abs=1e-7) == list(curve.weights)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=9
    )
)
def test_no_small_step_makes_a_curve_more_likely(pairs: list[tuple[float, int, int]]) -> None:
    scores, right, wrong = (np.array(column, float) for column in zip(*pairs, strict=True))
    curve = fit(scores, right, wrong)

    def likelihood(weights: list[float]) -> float:
        total = -sum(
            ((w - m) / s) ** 2 / 2 for w, m, s in zip(weights, (0, 1), (5, 3), strict=True)
        )
        for score, yes, no in [*zip(scores, right, wrong, strict=True), (0, 0, 1), (1, 1, 0)]:
            z = weights[0] + weights[1] * (score - 0.85) / 0.1
            total -= yes * np.logaddexp(0, -z) + no * np.logaddexp(0, z)
        return float(total)

    best = likelihood(list(curve.weights))
    for step in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        moved = [w + d for w, d in zip(curve.weights, step, strict=True)]
        assert likelihood(moved) <= best + 1e-6 * max(1.0, abs(best))


def test_pairs_that_all_agree_leave_a_finite_curve() -> None:
    curve = fit(np.array([0.9]), np.array([1000.0]), np.array([0.0]))
    assert 0.99 < curve.chance(0.9) < 1.0
    assert curve.least(0.9, 1.0) < curve.chance(0.9)
    assert np.isfinite(curve.covariance).all()


def test_an_entry_s_own_pairs_move_its_chance_and_no_more_than_they_tell() -> None:
    curve = fit(np.array([0.7, 0.95]), np.array([5.0, 60.0]), np.array([20.0, 5.0]))
    assert 0.0 == shift_of(curve, [], 1.5)
    once = shift_of(curve, [(0.95, False)], 1.5)
    often = shift_of(curve, [(0.95, False)] * 5, 1.5)
    assert often < once < 0.0
    assert shift_of(curve, [(0.95, True)] * 5, 1.5) > 0.0
    # At the best shift the pairs pull as strongly as the prior holds.
    pull = sum(0 - curve.chance(0.95, often) for _ in range(5))
    assert pytest.approx(often / 1.5**2) == pull


# The bound


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=200), st.sampled_from([0.01, 0.02, 0.05, 0.3])
)
def test_the_expected_share_of_wrong_ones_among_the_served_stays_in_its_limit(
    risks: list[float], limit: float
) -> None:
    served, expected, count = _Served(), 0.0, 0
    for risk in risks:
        if served.takes(risk, limit):
            served.add(risk)
            expected, count = expected + risk, count + 1
    assert expected <= limit * count + 1e-9


@pytest.mark.parametrize("limit", [0.02, 0.05])
@pytest.mark.parametrize("clear_error", [0.0, 0.01, 0.2])
async def test_in_a_stream_of_pairs_it_observes_its_limit(limit: float, clear_error: float) -> None:
    """What ``guarded`` lets pass is wrong so often, what it doubts half of the time.

    Where nothing can be served within the limit, next to nothing is.
    """
    async with Desk(policy="verified", compare="exact", max_error=limit) as desk:
        verifier, draw = desk.layer._second, random.Random(7)
        verifier._chance = random.Random(8)
        prompt, call = Prompt("scope", ASKED), desk_call(desk)
        hits = wrong = 0
        for number in range(2000):
            clear = draw.random() < 0.5
            right = draw.random() >= (clear_error if clear else 0.5)
            answer = evolve(answer_to(KNOWN), number=number)
            vector, score = np.zeros(1, np.float32), draw.uniform(0.75, 0.99)
            match = Match(answer, score, "policy verified", vector)
            if not clear:
                match = Match(None, score, "", vector, undecided=((answer, score),))
            decision = await verifier.decide(match, prompt, call)
            if decision.match.answer is not None:
                hits, wrong = hits + 1, wrong + (not right)
            if decision.match.answer is None or draw.random() < decision.check:
                verifier.learn_pair(decision.candidate, right=right)
    assert wrong <= limit * hits + 3 * math.sqrt(limit * max(hits, 1))
    assert hits > 200 if clear_error < limit else hits < 100


async def test_what_is_only_looked_at_in_shadow_leaves_no_room_for_errors() -> None:
    async with Desk(policy="verified", compare="exact", max_error=0.05) as desk:
        verifier, prompt, call = desk.layer._second, Prompt("scope", ASKED), desk_call(desk)
        for _ in range(1000):
            verifier._pools.add(pool_of("red", "ask", "model"), "clear", 0.9, right=True)
        match = Match(answer_to(KNOWN), 0.9, "policy verified", np.zeros(1, np.float32))
        shadow = await verifier.shadow(match, prompt, call, Outcome("an answer"))
        assert shadow.answer is not None
        assert {} == verifier._served
        await verifier.decide(match, prompt, call)
        (served,) = verifier._served.values()
        assert 1 == served.count


def desk_call(desk: Desk) -> Call:
    return context_of(desk.argo).make_call("ask", "red", {"prompt": ASKED}).bind("model")


def answer_to(text: str) -> KnownAnswer:
    return KnownAnswer(
        number=1,
        text=text,
        slots=None,
        vector=None,
        model="",
        outcome=Outcome(None),
        value=snapshot("an answer"),
        tag_snapshot=TagSnapshot((), 0, 0),
        expires_at=math.inf,
    )


async def test_what_was_learnt_is_pooled_by_tenant_and_outlives_a_process(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    red, blue = pool_of("red", "ask", "model"), pool_of("blue", "ask", "model")
    async with Desk(shared=url) as desk:
        pools = Pools(context_of(desk.argo))
        for _ in range(5):
            pools.add(red, "open", 0.9, right=True)
        await pools.close()
    async with Desk(shared=url) as desk:
        pools = Pools(context_of(desk.argo))
        assert 5 == (await pools.evidence(red, "open")).right[90]
        assert 0 == (await pools.evidence(blue, "open")).pairs


def test_pools_of_tenants_operations_and_upstreams_are_apart() -> None:
    pools = [pool_of(t, o, u) for t in ("a", "b") for o in ("x", "y") for u in ("m", "n")]
    assert 8 == len(set(pools))


# Comparing answers


@frozen
class View:
    """An opinion, as other plugins give it."""

    action: str
    reason: str


@frozen
class Reply:
    """A completion, as other plugins give it."""

    text: str
    tokens: int = 0


@pytest.mark.parametrize(
    ("known", "new", "expected"),
    [
        (View("BUY", "cheap"), View("BUY", "low price"), True),
        (View("BUY", "cheap"), View("SELL", "cheap"), False),
        ({"action": "HOLD"}, {"action": "HOLD", "why": "flat"}, True),
        ("Hold.", " hold", True),
        (Reply("It rose by  5 %", 3), Reply("it rose by 5 %.", 9), True),
        (Reply("It rose by 5 %"), Reply("It rose by -5 %"), None),
        ("1.5", "15", None),
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], None),
        (1, True, None),
        (np.array([1, 2]), np.array([1, 2]), None),
    ],
    ids=repr,
)
def test_answers_agree_as_far_as_they_tell(known: object, new: object, expected: object) -> None:
    assert expected is agree(known, new)


# In the chain


def same_answers(desk: Desk, *values: str) -> None:
    """Let the model give *values* in turn."""
    left = list(values)

    def answer(call: Call) -> Outcome:
        desk.clock.stall(2.0)
        return Outcome(left.pop(0) if len(left) > 1 else left[0])

    desk.model._script = [answer]


async def test_what_is_in_doubt_is_asked_anyway_and_learnt_from() -> None:
    async with Desk(policy="verified", compare="exact") as desk:
        same_answers(desk, "up")
        await desk.ask(KNOWN)
        outcome = await desk.ask(ASKED)
        ((_, pools),) = desk.layer._second._pools._pools.values()
        assert "asked anyway, risk: up to" in notes(outcome)
        assert 1 == pools["open"].right.sum()
        assert 2 == len(desk.model.asked)


async def test_it_serves_once_enough_pairs_were_right() -> None:
    async with Desk(policy="verified", compare="exact", max_error=0.05) as desk:
        same_answers(desk, "up")
        await desk.asks(KNOWN, ASKED)
        ((pool, _),) = desk.layer._second._pools._pools.items()
        for _ in range(300):
            desk.layer._second._pools.add(pool, "open", 1.0, right=True)
        served = await desk.ask("How do I price a perpetual bond?")
        assert "served by policy verified" in notes(served)


async def test_unequal_answers_are_put_to_the_judge_who_is_paid_by_the_tenant() -> None:
    async with Desk(OTHER, policy="verified") as desk:
        await desk.ask(KNOWN, tenant="red")
        outcome = await desk.ask(ASKED, tenant="red")
        ((_, pools),) = desk.layer._second._pools._pools.values()
        assert 1 == pools["open"].wrong.sum()
        assert ["red"] == [call.tenant for call in desk.judge.asked]
        assert pytest.approx(0.0101) == outcome.cost.usd


async def test_a_judge_that_says_nothing_teaches_nothing() -> None:
    async with Desk("maybe", policy="verified") as desk:
        await desk.asks(KNOWN, ASKED)
        ((_, pools),) = desk.layer._second._pools._pools.values()
        assert 0 == pools["open"].pairs


async def test_a_hard_veto_is_not_verified() -> None:
    async with Desk(policy="verified", compare="exact") as desk:
        same_answers(desk, "up")
        await desk.asks("Should I buy gold?", "Should I sell gold?")
        assert {} == desk.layer._second._pools._pools


async def test_in_shadow_it_learns_from_what_answers_tell() -> None:
    async with Desk(policy="verified", flag="shadow", compare="exact") as desk:
        same_answers(desk, "up")
        for prompt in (KNOWN, ASKED):
            await desk.ask(prompt)
            async with asyncio.timeout(60):
                while desk.layer.entries < 1 or context_of(desk.argo).tasks.names:
                    await asyncio.sleep(0.001)
        assert 0 == desk.judged


# Checking what was served


async def checked(desk: Desk) -> dict[str, int]:
    while "argo-mw:similarity-check" in context_of(desk.argo).tasks.names:
        await asyncio.sleep(0)
    return dict(await desk.layer._stats.totals(0))


async def test_a_share_of_what_is_served_is_checked_by_asking_afresh() -> None:
    async with Desk(policy="guarded", check_share=1.0, compare="exact") as desk:
        same_answers(desk, "up", "up", "down")
        await desk.ask("How do I buy bonds?")
        assert "similarity" in (await desk.ask("How can I purchase bonds?")).via
        assert 1 == (await checked(desk))["right:policy guarded"]
        assert 2 == len(desk.model.asked)
        assert "similarity" in (await desk.ask("How can I purchase bonds?")).via
        totals = await checked(desk)
        assert 1 == totals["wrong:policy guarded"]
        assert "similarity" not in (await desk.ask("How can I purchase bonds?")).via


async def test_a_verdict_that_a_check_finds_wrong_is_unlearnt() -> None:
    async with Desk(check_share=1.0, compare="exact") as desk:
        assert [False, True] == await desk.asks(KNOWN, ASKED)
        assert 1 == (await checked(desk))["wrong:the judge says the same"]
        assert [False] == await desk.asks(ASKED)
        assert 1 == desk.judged


async def test_the_judge_is_not_asked_about_itself() -> None:
    async with Desk(check_share=1.0) as desk:
        await desk.asks(KNOWN, ASKED)
        totals = await checked(desk)
        assert 1 == desk.judged
        assert not any(name.startswith(("right:", "wrong:")) for name in totals)


async def test_a_check_that_fails_says_nothing() -> None:
    async with Desk(policy="guarded", check_share=1.0, compare="exact") as desk:
        await desk.ask("How do I buy bonds?")
        desk.model._script = [RuntimeError("down")]
        await desk.ask("How can I purchase bonds?")
        assert not any(name.startswith(("right:", "wrong:")) for name in await checked(desk))


async def test_checks_are_counted_as_audits_and_announced() -> None:
    async with Desk(policy="guarded", check_share=1.0, compare="exact") as desk:
        events = capture_events(desk.argo)
        same_answers(desk, "up")
        await desk.ask("How do I buy bonds?")
        await desk.ask("How can I purchase bonds?")
        await checked(desk)
    assert "found right" in {event.action for event in events.of(LayerActed)}


# What is refused


def test_a_bound_below_the_judge_s_own_error_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_error is 0\.01, less than judge_error, 0\.02"):
        SimilarityConfig(policy="verified", max_error=0.01, judge_error=0.02)
    SimilarityConfig(policy="verified", max_error=0.01, judge_error=0.02, compare="exact")
    SimilarityConfig(policy="judged", max_error=0.001)


async def test_a_bound_below_the_error_that_was_measured_is_refused_when_it_is_opened(
    tmp_path: object,
) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    async with Desk(shared=url) as desk:
        desk.layer._stats.count("wrong:the judge says the same", 20)
        desk.layer._stats.count("right:the judge says the same", 80)
    with pytest.raises(
        (ConfigError, PluginError), match=r"of 100 verdicts of the judge that were checked 20"
    ):
        async with Desk(policy="verified", max_error=0.05, shared=url):
            pass
    async with Desk(policy="verified", max_error=0.05, compare="exact", shared=url):
        pass


async def test_what_people_say_of_an_answer_counts_for_the_judge_that_let_it_serve() -> None:
    async with Desk() as desk:
        await desk.asks(KNOWN, ASKED)
        (hit,) = await audited(desk)
    assert "the judge says the same" == hit.why  # type: ignore[attr-defined]
