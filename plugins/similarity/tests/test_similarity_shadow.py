"""In shadow the layer says which prompts it would have answered, how far off, and what it saves."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import Cost, Outcome
from argo_mw.plugin import Call, Shadowed, context_of
from argo_mw.testing import Captured, capture_events, settle

from .test_similarity_layer import Bench


@pytest.fixture(autouse=True)
def in_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGO_MW_FLAG_SIMILARITY", "shadow")


def paid(*answers: str):
    remaining = iter(answers)

    def answer(call: Call) -> Outcome:
        return Outcome(next(remaining), cost=Cost(usd=0.25, requests=1.0, tokens_out=10))

    return answer


async def seen(events: Captured, answers: int) -> None:
    """Return when the layer has looked at so many *answers*; a text is embedded in a thread."""
    async with asyncio.timeout(60):
        while len(events.of(Shadowed)) < answers:
            await asyncio.sleep(0.001)
    await settle()


async def test_it_reports_equal_and_other_answers_and_what_they_cost() -> None:
    async with Bench(paid("up", "up", "down", "other")) as bench:
        events = capture_events(bench.argo)
        for number, prompt in enumerate(("What of Apple?",) * 3 + ("And of 1,412?",), 1):
            outcome = await bench.ask(prompt)
            assert () == outcome.via
            await seen(events, number)
        result = context_of(bench.argo).counters.shadow("similarity", "ask")
    reports = events.of(Shadowed)
    assert [False, True, True, False] == [event.would_hit for event in reports]
    assert [None, 0.0, 1.0, None] == [event.distance for event in reports]
    assert "the same text" == reports[1].why
    assert (4, 2, 0.5, 1) == (result.calls, result.hits, result.usd, result.unequal)
    assert 4 == bench.asked


async def test_an_answer_that_may_not_be_served_would_not_have_been() -> None:
    async with Bench(paid("up", "down", "down"), ttl=60.0) as bench:
        events = capture_events(bench.argo)
        for number, wait in enumerate((0.0, 61.0, 0.0), 1):
            await bench.clock.advance(wait)
            await bench.ask("What of Apple?")
            await seen(events, number)
    reports = events.of(Shadowed)
    assert [False, False, True] == [event.would_hit for event in reports]
    assert 0.0 == reports[2].distance
