"""The judge holds, rolls back and promotes on evidence, and says why."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from attrs import evolve

from argo_mw_rollout import (
    GUARDRAILS,
    METRICS,
    Arm,
    Block,
    Guardrail,
    Judge,
    Rules,
    Verdict,
    report,
)
from argo_mw_rollout.statistics.compare import _levels
from argo_mw_rollout.statistics.judge import VERSION
from argo_mw_rollout.statistics.metrics import FIELDS
from argo_mw_rollout.statistics.subjects import MOST_SUBJECTS, Baseline, Subjects

SECONDS = 30.0
FAST = {name: rail for name, rail in GUARDRAILS.items() if name != "wrong"}
"""The guardrails without that of wrong answers, whose absence takes days of audits to show."""


class Traffic:
    """Draws counts of subjects that are asked once a second each."""

    def __init__(self, seed: int = 1, subjects: int = 20) -> None:
        self.random = np.random.default_rng(seed)
        self.names = {arm: [f"{arm}{n:02}" for n in range(subjects)] for arm in "TC"}

    def arm(
        self,
        names: list[str],
        seconds: float = SECONDS,
        *,
        errors: float = 0.002,
        requests: float = 0.5,
        wrong: float = 0.0,
        audited: float = 0.02,
        slow: float = 0.05,
    ) -> Arm:
        random = self.random
        calls = random.poisson(seconds, len(names))
        sums = np.zeros((len(names), len(FIELDS)))
        asked = random.binomial(calls, requests)
        audits = random.binomial(calls, audited)
        columns: Mapping[str, object] = {
            "calls": calls,
            "errors": random.binomial(calls, errors),
            "slow": random.binomial(calls, slow),
            "slowest": random.binomial(calls, slow / 5),
            "requests": asked,
            "usd": random.standard_gamma(asked) * 0.002,
            "audits": audits,
            "wrong": random.binomial(audits, wrong),
            "distance": random.standard_gamma(audits * 4.0) / 4 * 5e-4,
        }
        for column, values in columns.items():
            sums[:, FIELDS.index(column)] = values
        return Arm(names, sums)

    def block(self, start: float, **effect: float) -> Block:
        return Block(
            start,
            SECONDS,
            self.arm(self.names["T"], **effect),
            self.arm(self.names["C"]),
        )

    def judge(self, rules: Rules | None = None, *, to: float = 100.0) -> Judge:
        judge = Judge(rules or Rules(FAST))
        for names in self.names.values():
            judge.learn(self.arm(names, 86_400.0))
        judge.begin(10.0, to, 0.0)
        return judge


def watch(judge: Judge, traffic: Traffic, blocks: int, **effect: float) -> Verdict:
    """Show *judge* so many blocks, and return its first verdict that is not to hold, or the last."""
    assert judge.step is not None
    start = judge.step.end
    for number in range(blocks):
        judge.observe(traffic.block(start + number * SECONDS, **effect))
        verdict = judge.verdict()
        if verdict.action != "hold":
            return verdict
    return verdict


def of(verdict: Verdict, metric: str) -> str:
    return next(one.state for one in verdict.evidence if one.metric == metric)


# Rolling back and promoting


def test_more_errors_roll_back() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(), traffic, 200, errors=0.03)

    assert verdict.action == "roll back"
    assert of(verdict, "errors") == "harmed"
    assert verdict.why.startswith("errors +")
    assert "which is certainly more than 0.2 points" in verdict.why


def test_no_difference_is_not_rolled_back() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(), traffic, 200)

    assert verdict.action == "hold"


def test_wrong_answers_roll_back_after_a_few_audits_and_even_while_the_layer_warms_up() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(Rules()), traffic, 9, wrong=0.5)

    assert verdict.action == "roll back"
    assert verdict.why.startswith("wrong answers are certainly worse: ")
    assert "checked in treatment, 0 of" in verdict.why


@pytest.mark.parametrize("odd", [1, 2])
def test_subjects_whose_answers_always_differ_are_no_harm_of_the_layer(odd: int) -> None:
    traffic = Traffic(subjects=20)
    judge = traffic.judge(Rules())
    for number in range(400):
        block = traffic.block(number * SECONDS)
        sums = block.treatment.sums
        sums[:odd, FIELDS.index("wrong")] = sums[:odd, FIELDS.index("audits")]
        judge.observe(block)
        verdict = judge.verdict()
        assert verdict.action == "hold"

    assert of(verdict, "wrong") == "open"


def test_harm_that_begins_late_in_a_long_step_is_seen_soon() -> None:
    traffic = Traffic(subjects=15)
    judge = traffic.judge(Rules({**FAST, "wrong": Guardrail(0.02)}))
    for number in range(200):
        judge.observe(traffic.block(number * SECONDS))
    assert judge.verdict().action != "roll back"
    verdict = watch(judge, traffic, 120, wrong=1.0)

    assert verdict.action == "roll back"
    assert of(verdict, "wrong") == "harmed"


def test_what_was_wrong_in_the_steps_before_counts_for_its_subjects() -> None:
    traffic = Traffic()
    judge = traffic.judge(Rules())
    verdict = judge.verdict()
    for number in range(3):
        judge.begin(10.0 * (number + 1), 100.0, number * SECONDS)
        block = traffic.block(number * SECONDS, audited=0.0)
        block.treatment.sums[:, FIELDS.index("audits")] = 2.0
        block.treatment.sums[2 * number : 2 * number + 2, FIELDS.index("wrong")] = 2.0
        judge.observe(block)
        judge = Judge.of_data(json.loads(json.dumps(judge.as_data())), judge.rules)
        verdict = judge.verdict()
        assert of(verdict, "wrong") == ("open" if number < 1 else "harmed"), number

    assert verdict.action == "roll back"


def test_errors_while_the_layer_warms_up_do_not_count() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    warming = watch(judge, traffic, 10, errors=0.5)

    assert ("hold", "the layer is warming up") == (warming.action, warming.why)
    assert watch(judge, traffic, 100).action == "hold"


def test_an_upstream_that_fails_for_one_subject_is_no_harm_of_the_layer() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    for number in range(200):
        block = traffic.block(number * SECONDS)
        block.treatment.sums[3, FIELDS.index("errors")] = block.treatment.sums[3, 0]
        judge.observe(block)
    verdict = judge.verdict()

    assert verdict.action == "hold"
    assert of(verdict, "errors") == "open"


def test_an_arm_varies_as_much_as_it_would_without_each_of_its_subjects() -> None:
    random = np.random.default_rng(3)
    usual, sums = (np.zeros((12, len(FIELDS))) for _ in range(2))
    calls = np.array([900.0, *random.poisson(30, 11)])  # one of them has most of the calls
    usual[:, FIELDS.index("calls")] = sums[:, FIELDS.index("calls")] = calls
    usual[:, FIELDS.index("usd")] = 0.5 * calls
    sums[:, FIELDS.index("usd")] = calls * random.lognormal(0.0, 0.3, 12) * 0.5
    before, seen = Subjects(), Subjects()
    names = [str(n) for n in range(12)]
    before.add(names, usual)
    seen.add(names, sums)

    found = _levels(seen, Baseline(before)).variance[list(METRICS).index("usd")]

    had, expected = sums[:, FIELDS.index("usd")], 0.5 * calls
    without = (had.sum() - had) / (expected.sum() - expected)
    away = without - had.sum() / expected.sum()
    assert found == pytest.approx((away**2).sum() * 11 / 12)


def test_a_gain_promotes() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(), traffic, 400, requests=0.3)

    assert verdict.action == "promote"
    assert verdict.why.startswith("no harm that would matter at on; requests −4")


def test_a_step_before_the_last_needs_no_gain() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(to=25.0), traffic, 200)

    assert verdict.action == "promote"
    assert verdict.why == "no harm that would matter at 25 %"


def test_without_a_gain_the_last_step_is_not_taken() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(), traffic, 900)

    assert verdict.action == "hold"
    assert verdict.why.startswith("it does no harm, but nothing has become better for certain")


def test_a_layer_that_is_to_gain_nothing_needs_no_gain() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(Rules(FAST, signals=())), traffic, 900)

    assert verdict.action == "promote"


def test_that_wrong_answers_are_rare_takes_many_audits_to_show() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(Rules()), traffic, 400, requests=0.3)

    assert verdict.action == "hold"
    assert "wrong answers (could still be +" in verdict.why
    assert verdict.seconds is not None
    assert 3_600.0 < verdict.seconds < 86_400.0


# Holding


def test_before_the_first_step_it_holds() -> None:
    assert Verdict("hold", "the ramp has not begun") == Judge().verdict()


def test_without_any_counts_it_holds() -> None:
    verdict = Traffic().judge().verdict()

    assert ("hold", "the layer is warming up", 300.0) == (
        verdict.action,
        verdict.why,
        verdict.seconds,
    )


def test_what_is_no_number_holds_loudly_and_is_named() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    watch(judge, traffic, 50, requests=0.3)
    broken = traffic.block(50 * SECONDS)
    broken.treatment.sums[2, FIELDS.index("usd")] = np.nan
    judge.observe(broken)
    verdict = watch(judge, traffic, 400, requests=0.3)

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert verdict.why == "counts cannot be used: usd of T02 is not a number"


def test_counts_below_zero_hold_loudly() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    broken = traffic.block(0.0)
    broken.control.sums[0, 0] = -1.0
    judge.observe(broken)

    assert judge.verdict().why == "counts cannot be used: calls of C00 is below zero"


def test_a_metric_that_does_not_exist_holds_loudly() -> None:
    traffic = Traffic()
    judge = traffic.judge(Rules({**FAST, "eror_rate": Guardrail(0.1)}))
    verdict = watch(judge, traffic, 400, requests=0.3)

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert verdict.why.startswith("there is no metric 'eror_rate'; there are errors, slow,")


def test_without_a_guardrail_it_holds_loudly() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(Rules({})), traffic, 100, requests=0.3)

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert verdict.why == "no guardrail is left, so nothing would be noticed"


def test_a_guardrail_of_which_nothing_was_counted_holds_loudly() -> None:
    traffic = Traffic()
    judge = traffic.judge(Rules())
    for number in range(200):
        arms = [traffic.arm(names, audited=0.0) for names in traffic.names.values()]
        judge.observe(Block(number * SECONDS, SECONDS, *arms))
    verdict = judge.verdict()

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert verdict.why == (
        "nothing was counted of error of served prices and wrong answers; do not guard what cannot "
        "be counted"
    )


def test_where_answers_differ_without_the_layer_too_it_holds_loudly() -> None:
    traffic = Traffic()
    judge = Judge()
    for names in traffic.names.values():
        judge.learn(traffic.arm(names, 3_600.0, wrong=0.5))
    judge.begin(10.0, 100.0, 0.0)
    for number in range(100):
        arms = [traffic.arm(names, wrong=0.5) for names in traffic.names.values()]
        judge.observe(Block(number * SECONDS, SECONDS, *arms))
    verdict = judge.verdict()

    assert (verdict.action, verdict.loud) == ("hold", True)
    assert "differ without the layer too" in verdict.why
    assert '"wrong" and "distance" out of the plan' in verdict.why


def test_a_guardrail_of_which_nothing_was_counted_yet_holds_quietly_at_first() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    for number in range(25):
        judge.observe(traffic.block(number * SECONDS, audited=0.0))
        verdict = judge.verdict()
        if judge.step is not None and judge.step.seconds:
            assert "nothing was counted" in verdict.why
            assert verdict.loud == (number >= 19)


def test_without_a_time_before_the_ramp_it_holds_loudly() -> None:
    traffic = Traffic()
    judge = Judge(Rules(FAST))
    judge.begin(10.0, 25.0, 0.0)
    verdict = watch(judge, traffic, 100)

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert verdict.why.startswith("nothing is known of the time before the ramp")


def test_too_few_subjects_hold_and_a_larger_share_is_named() -> None:
    traffic = Traffic(subjects=4)
    verdict = watch(traffic.judge(), traffic, 100, errors=0.5)

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert verdict.why == (
        "4 subjects in treatment and 4 in control; 10 of each are needed, and no new ones come: a "
        "share of about 38 % would have them"
    )


def test_a_share_below_one_percent_is_named_as_it_is() -> None:
    traffic = Traffic(subjects=2)
    judge = Judge(Rules(FAST))
    judge.learn(traffic.arm(["A"], 86_400.0))
    judge.begin(0.02, 100.0, 0.0)
    for number in range(30):
        judge.observe(traffic.block(number * SECONDS))

    assert "a share of about 0.15 % would have them" in judge.verdict().why


def test_subjects_without_end_are_kept_apart_up_to_a_number() -> None:
    judge = Judge(Rules(FAST))
    for number in range(12):
        judge.learn(Traffic(subjects=1).arm([f"{number}-{n}" for n in range(1_000)]))
    judge.begin(10.0, 100.0, 0.0)
    for number in range(40):
        traffic = Traffic(number)
        traffic.names = {arm: [f"{arm}{number}-{n}" for n in range(200)] for arm in "TC"}
        judge.observe(traffic.block(number * SECONDS))
    again = Judge.of_data(json.loads(json.dumps(judge.as_data())), judge.rules)

    for one in (judge, again):
        verdict = one.verdict()
        assert one.step is not None
        assert max(verdict.subjects) <= MOST_SUBJECTS
        assert verdict.calls[0] == pytest.approx(30 * 200 * SECONDS, rel=0.01)
        assert len(one.as_data()["before"]) == MOST_SUBJECTS
        assert "arms cannot be compared" not in verdict.why


def test_while_new_subjects_come_it_says_how_long_it_will_take() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    for number in range(60):
        few = {arm: names[: 1 + number // 10] for arm, names in traffic.names.items()}
        arms = [traffic.arm(names) for names in few.values()]
        judge.observe(Block(number * SECONDS, SECONDS, *arms))
    verdict = judge.verdict()

    assert verdict.why == "6 subjects in treatment and 6 in control; 10 of each are needed"
    assert verdict.seconds == pytest.approx(1200.0)
    assert not verdict.loud


def test_arms_of_the_wrong_sizes_hold_loudly_whatever_they_show() -> None:
    traffic = Traffic(subjects=60)
    traffic.names["T"] = traffic.names["T"][:12]
    verdict = watch(traffic.judge(), traffic, 200, errors=0.05)

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert verdict.why.startswith(
        "the arms cannot be compared: of 72 subjects 12 are in treatment, where about 36 should be"
    )


def test_subjects_in_both_arms_hold_loudly() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    watch(judge, traffic, 100)
    swapped = traffic.block(100 * SECONDS)
    judge.observe(evolve(swapped, treatment=swapped.control, control=swapped.treatment))
    verdict = judge.verdict()

    assert ("hold", True) == (verdict.action, verdict.loud)
    assert "40 subjects were seen in both arms (C00, C01, C02)" in verdict.why


# State


def test_another_judge_goes_on_from_the_same_state() -> None:
    one, two = Traffic(3), Traffic(3)
    first, second = one.judge(Rules(steps=2)), two.judge(Rules(steps=2))
    watch(first, one, 60, errors=0.02)
    watch(second, two, 60, errors=0.02)

    second = Judge.of_data(json.loads(json.dumps(second.as_data())), second.rules)

    for number in range(60, 150):
        first.observe(one.block(number * SECONDS, errors=0.02))
        second.observe(two.block(number * SECONDS, errors=0.02))
        assert first.verdict() == second.verdict()
    assert first.as_data() == second.as_data()


def test_a_state_before_the_first_step_is_kept_too() -> None:
    traffic = Traffic()
    judge = Judge()
    judge.learn(traffic.arm(traffic.names["T"]))

    other = Judge.of_data(judge.as_data())
    other.begin(10.0, 100.0, 0.0)

    assert judge.as_data()["before"] == other.as_data()["before"]


@pytest.mark.parametrize("state", [{}, {"version": 1}, {"version": VERSION, "before": 3}])
def test_what_is_no_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="state of a judge"):
        Judge.of_data(state)


def test_a_block_counts_once_however_often_it_is_shown() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    blocks = [traffic.block(number * SECONDS) for number in range(50)]
    for block in blocks:
        judge.observe(block)
    before = judge.as_data()

    for block in blocks:
        judge.observe(block)

    assert before == judge.as_data()


def test_a_block_that_began_before_the_step_does_not_count() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    judge.begin(10.0, 100.0, 40.0)
    judge.observe(traffic.block(30.0))

    assert judge.step is not None
    assert (0.0, 0.0) == (judge.step.checked[0].total, judge.step.seconds)


def test_a_new_step_begins_anew_but_remembers_what_was_checked() -> None:
    traffic = Traffic()
    judge = traffic.judge(Rules(), to=25.0)
    watch(judge, traffic, 100)
    assert judge.step is not None
    checked = judge.step.checked[0].total
    judge.begin(25.0, 100.0, 100 * SECONDS)
    judge.observe(traffic.block(100 * SECONDS))
    verdict = judge.verdict()

    assert (0.0, 0.0) == verdict.calls
    assert judge.as_data()["checked_earlier"][0] == checked


def test_no_step_has_no_control() -> None:
    with pytest.raises(ValueError, match="at 100 % there are no two arms to compare"):
        Judge().begin(100.0, 100.0, 0.0)


def test_what_was_before_the_ramp_is_settled_when_it_begins() -> None:
    traffic = Traffic()
    judge = traffic.judge()

    with pytest.raises(ValueError, match="cannot change once it has begun"):
        judge.learn(traffic.arm(traffic.names["T"]))


# Blocks


def test_counts_of_several_instances_add_up() -> None:
    one = Arm(["A", "B"], np.array([[1.0] * 9, [2.0] * 9]))
    two = Arm(["B", "C"], np.array([[3.0] * 9, [4.0] * 9]))

    block = Block.merged(0.0, SECONDS, {"one": (one, Arm()), "two": (two, one)})

    assert ["A", "B", "C"] == list(block.treatment.subjects)
    assert [1.0, 5.0, 4.0] == block.treatment.sums[:, 0].tolist()
    assert ["A", "B"] == list(block.control.subjects)
    assert {"one": (["A", "B"], []), "two": (["B", "C"], ["A", "B"])} == {
        name: (list(a), list(b)) for name, (a, b) in block.sources.items()
    }


def test_an_instance_that_decides_otherwise_is_named() -> None:
    traffic = Traffic(subjects=40)
    judge = traffic.judge()
    for number in range(60):
        whole = traffic.block(number * SECONDS)
        half = {arm: names[:20] for arm, names in traffic.names.items()}
        good = (traffic.arm(half["T"]), traffic.arm(half["C"]))
        bad = (Arm(), traffic.arm([f"X{n}" for n in range(40)]))
        judge.observe(Block.merged(whole.start, SECONDS, {"good": good, "bad": bad}))
    verdict = judge.verdict()

    assert verdict.action == "hold"
    assert "instance bad brings it (0 to 40)" in verdict.why


# Words


def test_a_report_says_what_has_changed() -> None:
    traffic = Traffic()
    verdict = watch(traffic.judge(), traffic, 400, requests=0.3)

    text = report("race", 10.0, verdict.evidence, "p99 −38 % (−45 to −31)")

    assert text.startswith("race at 10 %: p99 −38 % (−45 to −31), requests −4")
    assert text.endswith(", no other change")


def test_a_report_without_any_change_says_so() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    watch(judge, traffic, 60)

    assert report("race", 10.0, judge.verdict().evidence) == "race at 10 %: no change"


def test_a_report_does_not_say_that_nothing_has_become_less() -> None:
    traffic = Traffic()
    judge = Judge(Rules(FAST))
    free = [traffic.arm(names, 3_600.0) for names in traffic.names.values()]
    for number in range(60):
        block = traffic.block(number * SECONDS)
        for arm in (*free, block.treatment, block.control):
            arm.sums[:, FIELDS.index("usd")] = 0.0
        if not number:
            for arm in free:
                judge.learn(arm)
            judge.begin(10.0, 100.0, 0.0)
        judge.observe(block)

    assert "in control itself" not in report("race", 10.0, judge.verdict().evidence)


def test_a_report_does_not_take_what_is_unknown_for_no_change() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    watch(judge, traffic, 12)

    text = report("race", 10.0, judge.verdict().evidence)

    assert text.startswith("race at 10 %: too little known yet of errors,")
    assert "no change" not in text


def test_a_report_says_when_control_is_not_what_it_was() -> None:
    traffic = Traffic()
    judge = traffic.judge()
    for number in range(200):
        arms = [traffic.arm(names, requests=0.7) for names in traffic.names.values()]
        judge.observe(Block(number * SECONDS, SECONDS, *arms))

    text = report("race", 10.0, judge.verdict().evidence)

    assert "in control itself requests +4" in text
    assert "% against before the ramp" in text
