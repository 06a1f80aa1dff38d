"""The policy ``judged``: what it asks a judge, when, at whose expense, and what a verdict does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import Argo, Cost, Outcome
from argo_mw.plugin import (
    BudgetExceeded,
    Call,
    Charge,
    CostTotals,
    Guard,
    LayerActed,
    context_of,
    hookimpl,
    layers_of,
    operation,
)
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_similarity import SimilarityConfig, SimilarityPlugin, read
from argo_mw_similarity.comparison.policy import SOFT
from argo_mw_similarity.comparison.vetoes import VETOES
from argo_mw_similarity.factory import policy_of
from argo_mw_similarity.language import lexicon
from argo_mw_similarity.layer import Similarity
from argo_mw_similarity.opinions.same_question import document, verdict_in

from .test_similarity_layer import Brings, Same, ask

KNOWN = "How do I price a bond?"
ASKED = "How do I price a callable bond?"
"""Nothing but a word that only one of them has is between the two: undecided."""

Reply = dict[str, bool] | object
SAME: Reply = {"same": True}
OTHER: Reply = {"same": False}


class Ledger:
    """A table of costs that keeps them in a list."""

    stand_in = False

    def __init__(self) -> None:
        self.charges: list[Charge] = []

    def record(self, charge: Charge) -> None:
        self.charges.append(charge)

    async def totals(self, since: float) -> Sequence[CostTotals]:
        return []

    async def identity(self) -> str:
        return ""

    @hookimpl
    def register_cost_table(self) -> Ledger:
        return self


class Desk:
    """An application with the layer, a dear and slow model, and a judge that follows a script."""

    def __init__(
        self,
        *verdicts: object,
        usd: float | None = 0.01,
        took: float = 2.0,
        judge_usd: float | None = 0.0001,
        judge_took: float = 0.2,
        guards: Iterable[Guard] = (),
        shared: str = "memory://",
        flag: str = "on",
        policy: str = "judged",
        **config: object,
    ) -> None:
        self.clock = FakeClock()
        self.model = Scripted("model", {"ask"}, self._answers(usd, took), retries=0)
        script = [self._says(one, judge_usd, judge_took) for one in verdicts or (SAME,)]
        self.judge = Scripted("judge", {"same_question"}, *script, retries=0)
        self.ledger = Ledger()
        guarded = list(guards)
        self.argo = Argo.open(
            {
                "argo": {"shared": shared, "strict": True},
                "flags": {"similarity": flag},
                "plugins": {"similarity": {"policy": policy, "embedder": "same", **config}},
            },
            clock=self.clock,
            plugins={
                "similarity": SimilarityPlugin,
                "brings": Brings(Same()),
                "ledger": self.ledger,
                "asked": FakePlugin(
                    operations=[ask],
                    upstreams=[self.model, self.judge],
                    guards=lambda upstream: guarded if upstream.name == "judge" else (),
                ),
            },
            installed=False,
        )

    async def __aenter__(self) -> Desk:
        await self.argo.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.argo.__aexit__(*error)

    async def ask(self, prompt: str, *, tenant: str | None = None, **parameters: object) -> Outcome:
        return await self.argo.options(tenant=tenant).outcome("ask", prompt=prompt, **parameters)

    async def asks(self, *prompts: str) -> list[bool]:
        """Ask *prompts* one after the other; whether the layer served each."""
        return ["similarity" in (await self.ask(prompt)).via for prompt in prompts]

    @property
    def layer(self) -> Similarity:
        (layer,) = layers_of(self.argo)
        assert isinstance(layer.middleware, Similarity)
        return layer.middleware

    @property
    def judged(self) -> int:
        return len(self.judge.asked)

    def _answers(self, usd: float | None, took: float) -> object:
        def answer(call: Call) -> Outcome:
            self.clock.stall(took)
            return Outcome(f"to {call.parameters['prompt']}", cost=Cost(usd=usd, requests=1.0))

        return answer

    def _says(self, verdict: object, usd: float | None, took: float) -> object:
        if isinstance(verdict, Exception):
            return verdict

        def say(call: Call) -> Outcome:
            self.clock.stall(took)
            return Outcome(verdict, cost=Cost(usd=usd, requests=1.0))

        return say


def notes(outcome: Outcome) -> str:
    return "; ".join(note.text for note in outcome.notes)


# What a verdict does


async def test_what_the_judge_calls_the_same_is_served_and_costs_what_the_judge_cost() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        served = await desk.ask(ASKED)
    assert f"to {KNOWN}" == served.value
    assert "similarity" in served.via
    assert 0.0001 == served.cost.usd
    assert "the judge says the same" in notes(served)
    assert {"known": KNOWN, "asked": ASKED} == dict(desk.judge.asked[0].parameters)


async def test_what_the_judge_calls_another_question_is_asked_and_noted() -> None:
    async with Desk(OTHER) as desk:
        await desk.ask(KNOWN)
        outcome = await desk.ask(ASKED)
    assert f"to {ASKED}" == outcome.value
    assert pytest.approx(0.0101) == outcome.cost.usd
    assert "the judge says another" in notes(outcome)


async def test_a_verdict_is_kept_so_that_the_judge_is_asked_once() -> None:
    async with Desk() as desk:
        assert [False, True, True, True] == await desk.asks(KNOWN, ASKED, ASKED, ASKED)
        again = await desk.ask(ASKED)
    assert 1 == desk.judged
    assert "an earlier verdict" in notes(again)
    assert 0 == again.cost.usd


async def test_a_verdict_outlives_the_process(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    async with Desk(shared=url) as desk:
        await desk.asks(KNOWN, ASKED)
    async with Desk(shared=url) as desk:
        assert [True] == await desk.asks(ASKED)
        assert (0, 0) == (desk.judged, len(desk.model.asked))


async def test_a_verdict_ends_with_its_answer() -> None:
    async with Desk(ttl=60.0) as desk:
        await desk.asks(KNOWN, ASKED)
        await desk.clock.advance(61)
        assert [False] == await desk.asks(ASKED)
        await desk.argo.invalidate("op:ask")
        assert [False, False] == await desk.asks(ASKED, KNOWN)


async def test_a_verdict_of_one_tenant_serves_no_other() -> None:
    async with Desk() as desk:
        for tenant in ("red", "blue"):
            await desk.ask(KNOWN, tenant=tenant)
            await desk.ask(ASKED, tenant=tenant)
        assert ["red", "blue"] == [call.tenant for call in desk.judge.asked]


async def test_verdicts_are_bounded() -> None:
    async with Desk(max_entries_per_scope=3) as desk:
        await desk.ask(KNOWN)
        for word in ("callable", "convertible", "perpetual", "municipal", "subordinated"):
            await desk.ask(f"How do I price a {word} bond?")
        (index,) = desk.layer._store._scopes.values()
        assert 3 == len(index._aliases)


async def test_scopes_are_bounded_though_nothing_is_kept_in_them() -> None:
    async with Desk(max_entries=10) as desk:
        caller = desk.argo.options(store=False)
        for number in range(30):
            await caller.call("ask", prompt=KNOWN, system=f"You are analyst {number}.")
        assert 10 >= len(desk.layer._store._scopes)


async def test_an_answer_that_must_not_be_kept_leaves_no_verdict() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        unkept = desk.argo.options(store=False)
        for _ in range(2):
            assert "similarity" in (await unkept.outcome("ask", prompt=ASKED)).via
        assert 2 == desk.judged


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"alias_of": "1"},
        {"alias_of": 1, "text": 5},
        {"same": "yes"},
        {"form": 1},
        {"score": "x"},
    ],
    ids=str,
)
async def test_a_verdict_that_another_version_has_kept_is_left_out(odd: dict[str, object]) -> None:
    async with Desk(OTHER) as desk:
        await desk.asks(KNOWN)
        scope, number = last_kept(desk)
        context = context_of(desk.argo)
        key = f"similarity:{scope}:{number + 1}"
        kept = {"form": 2, "alias_of": number, "text": ASKED, "same": True, "score": 1.0}
        record = {**kept, **odd} if odd else {}
        await context.shared.set(key, context.codecs.encode(record, key))
        await context.shared.add(f"similarity:{scope}:n", 1)
        desk.layer._store.drop_mirrors()
        assert [odd.keys() == {"score"}] == await desk.asks(ASKED)


# What is never put to the judge


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ("How do I price a 5 % bond?", "How do I price a callable 6 % bond?"),
        ("Should I buy gold?", "Should I quickly sell gold?"),
        ("Is it safe to hold a bond?", "Is it not safe to hold a callable bond?"),
        ("Who runs Intel?", "Who runs giant Nvidia?"),
        ("Summarize the report of May 2024.", "Summarize the long report of June 2024."),
    ],
    ids=["number", "direction", "negation", "name", "date"],
)
async def test_a_hard_veto_is_not_overruled_by_a_judge_that_always_says_yes(
    known: str, asked: str
) -> None:
    async with Desk() as desk:
        assert [False, False] == await desk.asks(known, asked)
        assert 0 == desk.judged


async def test_other_policies_ask_no_judge() -> None:
    async with Desk(policy="guarded") as desk:
        assert [False, False] == await desk.asks(KNOWN, ASKED)
        assert 0 == desk.judged


async def test_what_is_only_looked_at_is_not_put_to_the_judge() -> None:
    async with Desk(flag="shadow") as desk:
        await desk.asks(KNOWN, ASKED)
        await settle()
        assert 0 == desk.judged


async def test_an_explanation_asks_no_judge_and_says_that_a_call_might() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        tenant = desk.model.asked[0].tenant
        call = context_of(desk.argo).make_call("ask", tenant, {"prompt": ASKED}).bind("model")
        assert "might ask the judge" in await desk.layer.dry_run(call)
        assert 0 == desk.judged


async def test_an_answer_that_is_too_old_for_its_caller_is_not_judged() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        await desk.clock.advance(600)
        await desk.argo.options(max_age=60.0).outcome("ask", prompt=ASKED)
        assert 0 == desk.judged


# What is not a clear yes is a no


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (True, True),
        (False, False),
        ({"same": True}, True),
        ('{"same": true}', True),
        (' ```json\n{"same": false}\n``` ', False),
        ('{"same": "true"}', None),
        ('{"same": 1}', None),
        ('{"same": true, "why": "close"}', None),
        ('{"same": false, "same": true}', None),
        ('{"same": {"same": true}}', None),
        ("[true]", None),
        ("yes", None),
        ("true", None),
        ('Sure! {"same": true}', None),
        ("[" * 100_000, None),
        ({}, None),
        (None, None),
        (1, None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_verdict_is_of_the_form_that_was_asked_for_or_none(
    said: object, expected: bool | None
) -> None:
    assert expected is verdict_in(said)


@pytest.mark.parametrize("said", ["yes", {"same": "true"}, '{"same": true'], ids=str)
async def test_a_reply_of_another_form_is_a_no(said: object) -> None:
    async with Desk(said) as desk:
        assert [False, False] == await desk.asks(KNOWN, ASKED)
        assert 1 == desk.judged


async def test_a_judge_that_is_away_is_a_no_and_is_left_alone_for_a_while() -> None:
    async with Desk(RuntimeError("down"), SAME) as desk:
        first = "How do I price a convertible bond?"
        assert [False, False, False] == await desk.asks(KNOWN, first, ASKED)
        assert 1 == desk.judged
        await desk.clock.advance(31)
        assert [True] == await desk.asks("How do I price a perpetual bond?")


async def test_no_judge_at_all_is_a_no() -> None:
    async with Desk() as desk:
        await desk.argo.reload(
            {
                "argo": {"shared": "memory://", "strict": True},
                "flags": {"similarity": "on", "upstream.judge": "off"},
                "plugins": {"similarity": {"policy": "judged", "embedder": "same"}},
            }
        )
        assert [False, False] == await desk.asks(KNOWN, ASKED)


async def test_a_judge_over_its_time_limit_is_a_no_and_its_request_ends() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        desk.judge.gate.clear()
        asking = asyncio.create_task(desk.ask(ASKED))
        await desk.judge.arrived.wait()
        await desk.clock.advance(1.1)
        outcome = await asking
        assert f"to {ASKED}" == outcome.value
        assert "longer than 1 s" in notes(outcome)
        assert 1 == desk.judge.cancelled


async def test_a_judge_that_never_answered_in_time_has_no_price_and_is_left_for_a_minute() -> None:
    """Its price is still to be found out: after the minute one caller of many asks it."""
    async with Desk() as desk:
        await desk.ask(KNOWN)
        desk.judge.gate.clear()
        asking = asyncio.create_task(desk.ask(ASKED))
        await desk.judge.arrived.wait()
        await desk.clock.advance(1.1)
        await asking
        await desk.layer._store.forget(*last_kept(desk))
        await desk.ask("How do I price a convertible bond?")
        assert 1 == desk.judged
        await desk.layer._store.forget(*last_kept(desk))
        await desk.clock.advance(61)
        desk.judge.arrived.clear()
        async with asyncio.TaskGroup() as group:
            for word in ("perpetual", "municipal", "subordinated"):
                group.create_task(desk.ask(f"How do I price a {word} bond?"))
            await desk.judge.arrived.wait()
            await settle()
            assert 2 == desk.judged
            desk.judge.gate.set()


async def test_the_question_to_the_judge_ends_with_its_caller() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        desk.judge.gate.clear()
        asking = asyncio.create_task(desk.ask(ASKED))
        await desk.judge.arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert 1 == desk.judge.cancelled
        assert 1 == len(desk.model.asked)


class Refuses:
    """A guard that refuses every request for want of money."""

    name = "refuses"

    async def reserve(self, request: object) -> None:
        msg = "the budget of the tenant is used up"
        raise BudgetExceeded(msg)

    async def settle(self, request: object, result: object) -> None: ...

    async def release(self, request: object) -> None: ...


async def test_a_budget_that_refuses_the_judge_is_a_no_and_the_call_is_made() -> None:
    async with Desk(guards=[Refuses()]) as desk:  # type: ignore[list-item]
        await desk.ask(KNOWN)
        outcome = await desk.ask(ASKED)
    assert f"to {ASKED}" == outcome.value
    assert "the judge was refused" in notes(outcome)
    assert 0 == desk.judged


# When it is worth it


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"judge_usd": 0.0005}, 2),
        ({"judge_usd": 0.0006}, 1),
        ({"judge_usd": 0.0006, "judge_cost_share": 0.06}, 2),
        ({"judge_usd": None}, 1),
        ({"usd": None}, 0),
        ({"took": 0.0}, 0),
        ({"judge_took": 0.9}, 2),
        ({"judge_took": 1.1}, 1),
        ({"judge_took": 1.1, "judge_time_share": 0.6}, 2),
        ({"usd": 0.0, "judge_usd": 0.0}, 2),
        ({"usd": 0.0}, 1),
    ],
    ids=str,
)
async def test_the_judge_is_asked_while_it_is_cheap_and_quick_beside_the_call(
    terms: dict[str, object], expected: int
) -> None:
    """What it takes is learnt from its first answer."""
    async with Desk(OTHER, **terms) as desk:  # type: ignore[arg-type]
        await desk.ask(KNOWN)
        for word in ("callable", "perpetual"):
            await desk.ask(f"How do I price a {word} bond?", system="")
            await desk.layer._store.forget(*last_kept(desk))
        assert expected == desk.judged


def last_kept(desk: Desk) -> tuple[str, int]:
    """The scope and the number of the answer that was kept last."""
    ((scope, index),) = desk.layer._store._scopes.items()
    return scope, max(answer.number for answer in index)


async def test_a_judge_that_was_slow_is_tried_again_after_a_minute() -> None:
    async with Desk(OTHER, judge_took=1.1) as desk:
        await desk.asks(KNOWN, ASKED)
        await desk.layer._store.forget(*last_kept(desk))
        await desk.asks("How do I price a perpetual bond?")
        assert 1 == desk.judged
        await desk.layer._store.forget(*last_kept(desk))
        await desk.clock.advance(61)
        await desk.asks("How do I price a perpetual bond?")
        assert 2 == desk.judged


async def test_a_caller_without_time_for_judge_and_call_gets_no_judge() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        await desk.argo.options(timeout=1.9).outcome("ask", prompt=ASKED)
        assert 0 == desk.judged


async def test_of_many_callers_only_one_asks_while_the_price_is_not_known() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        desk.judge.gate.clear()
        words = ("callable", "convertible", "perpetual", "municipal")
        async with asyncio.TaskGroup() as group:
            for word in words:
                group.create_task(desk.ask(f"How do I price a {word} bond?"))
            await desk.judge.arrived.wait()
            await settle()
            assert 1 == desk.judged
            desk.judge.gate.set()


async def test_a_judge_that_hardly_ever_says_yes_is_asked_less_and_less() -> None:
    async with Desk(OTHER) as desk:
        await desk.ask(KNOWN)
        for _ in range(150):
            await desk.ask(ASKED)
            await desk.layer._store.forget(*last_kept(desk))
        assert 100 <= desk.judged <= 106


async def test_a_judge_that_often_says_yes_goes_on_to_be_asked() -> None:
    async with Desk(SAME, OTHER, SAME, OTHER, SAME) as desk:
        await desk.ask(KNOWN)
        judge = desk.layer._second._judge
        judge._credit = 1.0
        await desk.ask(ASKED)
        assert 10.0 == pytest.approx(judge._credit)


def test_hard_and_soft_reasons_are_reasons_that_there_are() -> None:
    assert {"numbers", "dates", "names", "negation", "directions", "roles"} <= VETOES.keys() - SOFT
    assert VETOES.keys() | {"remainder", "nearness"} >= SOFT


async def test_what_is_too_far_to_be_served_may_be_judged() -> None:
    words = lexicon.load()
    judged = policy_of(SimilarityConfig(policy="judged"), words, {})
    pair = read("How do I buy bonds?", words), read("How can I purchase bonds?", words)
    reasons = [judged.judge(*pair, score) for score in (0.5, 0.65, 0.85)]
    assert [(False, False), (False, True), (True, False)] == [
        (one.serve, one.undecided) for one in reasons
    ]


# Whose money it is


async def test_the_judge_is_booked_to_the_tenant_and_taken_off_what_the_layer_saves() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN, tenant="red")
        await desk.ask(ASKED, tenant="red")
    (saved,) = (charge for charge in desk.ledger.charges if charge.layer == "similarity")
    assert ("red", "ask", "saved", -0.0001) == (
        saved.tenant,
        saved.operation,
        saved.status,
        saved.cost.usd,
    )
    assert "red" == desk.judge.asked[0].tenant


async def test_what_the_judge_did_is_announced() -> None:
    async with Desk(OTHER) as desk:
        events = capture_events(desk.argo)
        await desk.asks(KNOWN, ASKED)
    acted = [event for event in events.of(LayerActed) if event.layer == "similarity"]
    assert ("judged", "the judge says another") in [(one.action, one.detail) for one in acted]


# Taking a verdict back


async def test_an_unlearnt_verdict_serves_no_more_and_the_judge_is_not_asked_again() -> None:
    async with Desk() as desk:
        await desk.asks(KNOWN, ASKED)
        (hit,) = await audited(desk)
        assert await desk.layer._store.unlearn(hit.scope, hit.alias, ttl=60.0)
        assert [False, True, True] == await desk.asks(ASKED, ASKED, KNOWN)
        assert 1 == desk.judged


async def audited(desk: Desk) -> list[object]:
    while "argo-mw:similarity-audit" in context_of(desk.argo).tasks.names:
        await asyncio.sleep(0)
    return await desk.layer._audit.hits()  # type: ignore[return-value]


async def test_what_is_said_last_of_a_prompt_and_an_answer_holds() -> None:
    async with Desk() as desk:
        await desk.asks(KNOWN, ASKED)
        store, ((scope, index),) = desk.layer._store, desk.layer._store._scopes.items()
        (kept,) = index._aliases.values()
        assert kept == await store.learn(scope, evolve(kept, number=0), ttl=60.0)
        await store.learn(scope, evolve(kept, number=0, same=False), ttl=60.0)
        assert [(kept.score, False)] == index.pairs(kept.answer)
        store.drop_mirrors()
        assert [False] == await desk.asks(ASKED)


async def test_an_answer_is_no_verdict_to_be_unlearnt() -> None:
    async with Desk() as desk:
        await desk.ask(KNOWN)
        assert not await desk.layer._store.unlearn(*last_kept(desk), ttl=60.0)
        assert [True] == await desk.asks(KNOWN)


# The judge that the plugin brings


@operation(name="complete", kind="llm")
def complete(
    messages: list[object],
    *,
    model: str = "",
    system: str = "",
    schema: Mapping[str, object] | None = None,
    max_tokens: int = 0,
    thinking: bool | None = None,
) -> object:
    """A language model's answer to a conversation."""


class Small:
    """A reply as a provider gives it."""

    def __init__(self, text: str) -> None:
        self.text = text


def desk_with_model(clock: FakeClock, asked: list[Call]) -> Argo:
    def answer(call: Call) -> Outcome:
        clock.stall(2.0)
        return Outcome("an answer", cost=Cost(usd=0.01, requests=1.0))

    def small(call: Call) -> Outcome:
        asked.append(call)
        clock.stall(0.1)
        return Outcome('{"same": true}', cost=Cost(usd=0.0001, requests=1.0))

    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "flags": {"similarity": "on"},
            "plugins": {
                "similarity": {"policy": "judged", "embedder": "same", "judge_model": "small-1"}
            },
        },
        clock=clock,
        plugins={
            "similarity": SimilarityPlugin,
            "brings": Brings(Same()),
            "asked": FakePlugin(
                operations=[ask, complete],
                upstreams=[
                    Scripted("model", {"ask"}, answer, retries=0),
                    Scripted("provider", {"complete"}, small, retries=0),
                ],
            ),
        },
        installed=False,
    )


async def test_a_small_model_of_any_provider_judges_through_the_chain() -> None:
    asked: list[Call] = []
    async with desk_with_model(FakeClock(), asked) as argo:
        caller = argo.options(tenant="red")
        await caller.call("ask", prompt=KNOWN)
        served = await caller.outcome("ask", prompt=ASKED)
    (call,) = asked
    (message,) = call.parameters["messages"]  # type: ignore[misc]
    assert "similarity" in served.via
    assert 0.0001 == served.cost.usd
    assert ("small-1", "red") == (call.parameters["model"], call.tenant)
    assert {"known": KNOWN, "asked": ASKED} == json.loads(message["content"])


async def test_what_the_judge_asks_its_model_is_neither_served_nor_kept_by_the_layer() -> None:
    """Questions about two pairs of prompts are much alike, and have different answers."""
    asked: list[Call] = []
    async with desk_with_model(FakeClock(), asked) as argo:
        for prompt in (KNOWN, ASKED, "How do I price a perpetual bond?"):
            await argo.call("ask", prompt=prompt)
        assert 2 == len(asked)


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_breaks_out_of_its_field(known: str, asked: str) -> None:
    assert {"known": known, "asked": asked} == json.loads(
        document({"known": known, "asked": asked})
    )
