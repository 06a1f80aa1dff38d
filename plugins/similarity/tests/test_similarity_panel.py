"""The panel of served prompts: what a person sees of them, and says about them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from argo_mw import Argo, BadParameter
from argo_mw.plugin import View, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_similarity import SimilarityPlugin
from argo_mw_similarity.stats import Stats
from argo_mw_similarity.summary import Summary


@operation(name="ask", kind="llm")
def ask(prompt: str) -> object:
    """Ask a language model."""


def open_argo(tmp_path: Path, model: Scripted, clock: FakeClock) -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "state_dir": str(tmp_path)},
            "plugins": {"similarity": {"embedder": "none", "max_audited": 3}},
        },
        clock=clock,
        plugins={
            "similarity": SimilarityPlugin(),
            "asked": FakePlugin(operations=[ask], upstreams=[model]),
        },
        installed=False,
    )


async def shown(argo: Argo) -> View:
    return (await context_of(argo).panels.read_here(fleet=True))["similarity"]


async def serve(argo: Argo, prompt: str, clock: FakeClock) -> None:
    """Ask *prompt*, and wait until a hit is on the list."""
    await argo.call("ask", prompt=prompt)
    tasks = context_of(argo).tasks
    while "argo-mw:similarity-audit" in tasks.names:
        await asyncio.sleep(0)
    await clock.advance(1.0)


async def test_what_was_served_is_shown_the_newest_first(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_argo(tmp_path, Scripted("model", {"ask"}, "answer"), clock) as argo:
        assert (await shown(argo)).lines == ()
        for prompt in ("What is a put?", "What is a call?"):
            for _ in range(3):
                await serve(argo, prompt, clock)
        lines = (await shown(argo)).lines
    assert [line.cells[0] for line in lines] == [
        "What is a call?",
        "What is a call?",
        "What is a put?",
    ]
    assert lines[0].cells[3] == "the same text"


async def test_a_wrong_answer_is_forgotten_and_a_right_one_taken_off_the_list(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    model = Scripted("model", {"ask"}, "answer")
    async with open_argo(tmp_path, model, clock) as argo:
        for _ in range(3):
            await serve(argo, "What is a put?", clock)
        press = context_of(argo).overview().press
        first, second = (await shown(argo)).lines
        assert "right: 'What is a put?' served" == await press("similarity", "right", first.key)
        assert await press("similarity", "wrong", second.key) == (
            "forgotten: the answer to 'What is a put?' is served no more"
        )
        assert (await shown(argo)).lines == ()
        with pytest.raises(BadParameter, match="not on the list any more"):
            await press("similarity", "wrong", first.key)
        await serve(argo, "What is a put?", clock)
        journal = await context_of(argo).journal.read()
        counted = Summary.of(await Stats(context_of(argo)).totals(7)).as_dict()
    assert len(model.asked) == 2
    assert len(journal) == 2
    assert counted["checked"][""]["wrong"] == 1
