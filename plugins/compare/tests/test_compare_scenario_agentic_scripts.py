"""The scenario of the agentic scripts, for one day of them."""

from __future__ import annotations

from argo_mw_compare.scenarios.agentic_prompts import DAY, WORKDAYS, week
from argo_mw_compare.scenarios.agentic_scripts import AgenticScripts
from argo_mw_compare.scenarios.promise import by_key
from argo_mw_compare.scenarios.scenario import measure


def test_machines_share_answers_and_no_prompt_gets_that_to_another_question(tmp_path):
    found = measure(AgenticScripts(days=1), tmp_path)
    promises = by_key([found])
    assert promises["agentic_scripts.wrong"]["met"]
    assert promises["agentic_scripts.calls"]["ours"] < 0.6
    parts = {one.phase: (one.before, one.after) for one in found.shown}
    assert ("8 of 16", "4 of 16") == parts["repeated prompts"]
    assert ("16 of 16", "4 of 16") == parts["templated prompts"]
    assert ("3 of 3", "3 of 3") == parts["twin prompts"]


async def test_a_judge_is_asked_in_doubt_and_its_cost_is_part_of_the_total(tmp_path):
    scenario = AgenticScripts(days=1)
    seen = await scenario.after(tmp_path)
    guarded = seen.guarded
    assert guarded is not None
    assert (0, 0.0) == (guarded.verdicts, guarded.judge_usd)
    assert seen.verdicts > 0
    assert seen.judge_usd > 0
    assert seen.calls.total() < guarded.calls.total()
    promises = scenario.findings(await scenario.before(tmp_path), seen).promises
    saved = {one.name: one.after for one in promises}
    assert seen.usd == saved["usd"]
    assert seen.calls.total() + seen.verdicts == saved["calls_of_all_models"]
    assert seen.usd > seen.judge_usd


async def test_the_original_asks_again_for_each_text_script_machine_and_day(tmp_path):
    seen = await AgenticScripts().before(tmp_path)
    assert 2 * 4 * WORKDAYS == seen.calls["repeated"]
    assert seen.asked["rephrased"] == seen.calls["rephrased"]


def test_prompts_of_one_meaning_have_one_kind_and_twins_have_a_meaning_of_their_own():
    kinds: dict[str, set[str]] = {}
    for one in week(0):
        kinds.setdefault(one.meaning, set()).add(one.kind)
        assert one.text.format() == one.text
    assert all(len(several) == 1 for several in kinds.values())
    assert 3 * WORKDAYS == sum(several == {"twin"} for several in kinds.values())
    assert max(one.at for one in week(0)) < WORKDAYS * DAY
