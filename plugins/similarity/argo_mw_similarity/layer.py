"""The layer: the answer to an equivalent prompt of the same scope replaces a call of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from functools import lru_cache

import numpy as np
from attrs import frozen

from argo_mw.plugin import (
    AnyOperation,
    Call,
    ConfigError,
    Context,
    Next,
    Note,
    NotShareable,
    Outcome,
)
from argo_mw.store import Freshness, TagSnapshot, snapshot
from argo_mw_similarity.admission import inadmissible, refusals
from argo_mw_similarity.answer_store import AnswerStore
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.embedders import MAX_TOKENS, Vectors
from argo_mw_similarity.embedding_batcher import EmbeddingBatcher
from argo_mw_similarity.factory import policy_of
from argo_mw_similarity.known_answer import KnownAnswer, without_value
from argo_mw_similarity.lexicon import Lexicon, word_class
from argo_mw_similarity.lexicon import load as load_lexicon
from argo_mw_similarity.policy import Policy
from argo_mw_similarity.prompt import Prompt, Prompts
from argo_mw_similarity.reading import Reading, read
from argo_mw_similarity.scope_index import ScopeIndex
from argo_mw_similarity.slots import Tolerance

IsFresh = Callable[[TagSnapshot], Awaitable[bool]]

NAME = "similarity"
_OWN_TAGS = frozenset({"layer:similarity"})
"""What every known answer depends on beside its own tags: killing the flag replaces it."""

_MAX_READINGS = 4096
_MAX_AUDITS_UNDER_WAY = 64
MAX_CHARACTERS = 3 * MAX_TOKENS
"""A longer text is sure to have more tokens than the model reads: never embedded, never judged."""


@frozen
class Match:
    """What was found for a prompt.

    Attributes:
        answer: The answer to serve, or ``None``.
        score: The cosine of the prompts; 1 for slots and equal texts.
        why: How they are equivalent, or what speaks against the nearest prompt.
        vector: The prompt's vector, if it was needed.
        vetoes: The names of what speaks against the nearest prompt.
    """

    answer: KnownAnswer | None
    score: float
    why: str
    vector: Vectors | None = None
    vetoes: tuple[str, ...] = ()


class Similarity:
    """The middleware that serves answers to equivalent prompts and keeps new ones.

    Args:
        config: The plugin's configuration.
        context: What the framework gives.
        policies: Returns the policies of other plugins, for the lexicon that was loaded.
        batcher: Makes vectors; ``None`` if no embedder is installed.
        slots: Operation → slot → tolerance.
    """

    def __init__(
        self,
        config: SimilarityConfig,
        context: Context,
        *,
        policies: Callable[[Lexicon], Mapping[str, Policy]],
        batcher: EmbeddingBatcher | None,
        slots: Mapping[str, Mapping[str, Tolerance]],
    ) -> None:
        self._config = config
        self._context = context
        self._policies = policies
        self._directories = () if config.data is None else (config.data,)
        moments = word_class("moment", *self._directories)
        self._prompts = Prompts(moments, slots)
        self._installed = batcher
        self._batcher: EmbeddingBatcher | None = None
        self._store = AnswerStore(
            context, max_per_scope=config.max_entries_per_scope, max_entries=config.max_entries
        )
        self._policy: Policy | None = None
        self._read: Callable[[str], Reading] | None = None
        self._audit = Audit(context, max_hits=config.max_audited)
        self._audits = 0
        self._refusals = refusals(*self._directories)

    async def open(self) -> None:
        """Load lexicon and model, off the loop, and subscribe to the answers of other instances.

        Without lexicon or model only equal texts and slots are found, which is reported.

        Raises:
            ConfigError: There is no policy of the configured name.
        """
        try:
            await self._load()
            await self._store.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Release the model and the subscription. Idempotent."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await batcher.close()
        await self._store.close()

    async def _load(self) -> None:
        try:
            lexicon = await asyncio.to_thread(load_lexicon, *self._directories)
            self._policy = policy_of(self._config, lexicon, self._policies(lexicon))
            self._read = lru_cache(maxsize=_MAX_READINGS)(lambda text: read(text, lexicon))
            if self._installed is not None:
                await self._installed.open()
                self._batcher = self._installed
                self._store.model = self._batcher.embedder.model
        except ConfigError:
            raise
        except Exception as error:
            self._context.warn_once(NAME, f"only equal texts and slots are found: {error}")

    @property
    def entries(self) -> int:
        """The number of answers mirrored in this process."""
        return len(self._store)

    def serves(self, operation: AnyOperation) -> bool:
        """Serve language-model operations, and those whose slots are configured."""
        return operation.kind == "llm" or operation.name in self._prompts.slots

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the answer to an equivalent prompt, or a new one, kept for later prompts."""
        prompt = self._prompts.of(call)
        if prompt is None:
            return await call_next(call)
        if prompt.momentary:
            return _noted(await call_next(call), "not looked up: the answer depends on the moment")
        match = Match(None, 0.0, "not looked up: a refresh")
        if not call.refresh:
            match = await self._find(prompt)
            if match.answer is not None and await self._may_serve(match.answer, call):
                return self._serve(match.answer, match, prompt, call)
        announce = self._context.announce
        announce(NAME, "refused" if match.why else "miss", call, match.why)
        for veto in match.vetoes:
            announce(NAME, f"veto {veto}", call)
        tag_snapshot = await self._context.tag_versions.load(call.tags | _OWN_TAGS)
        outcome = await call_next(call)
        await self._keep(call, prompt, outcome, match.vector, tag_snapshot)
        return _noted(outcome, match.why) if match.why else outcome

    def explain(self, call: Call) -> str:
        """Say what it would do with *call*, as far as that is known without waiting."""
        prompt = self._prompts.of(call)
        if prompt is None:
            return "would pass it on: no prompt among its parameters"
        if prompt.momentary:
            return "would pass it on: its answer depends on the moment"
        if prompt.slots is not None:
            return f"would look for an answer with equal slots ({', '.join(sorted(prompt.slots))})"
        if prompt.only_exact or self._batcher is None or self._policy is None:
            return "would look for an answer to the same text"
        return f"would ask the policy {self._policy.name!r} about the nearest prompts"

    async def dry_run(self, call: Call) -> str:
        """Say whether a known answer would be served to *call*, after looking for one."""
        prompt = self._prompts.of(call)
        if prompt is None or prompt.momentary:
            return self.explain(call)
        match = await self._find(prompt)
        if match.answer is None:
            why = match.why or "no known answer is near"
            return f"would ask the model: {why}"
        if not await self._may_serve(match.answer, call, self._looks_fresh):
            return f"would ask the model: the answer known by {match.why} is out of date"
        return f"would serve a known answer, by {match.why} at {match.score:.3f}"

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        """Report what would have been served to *call*, and keep *outcome* where nothing would."""
        prompt = self._prompts.of(call)
        if prompt is None or prompt.momentary:
            return
        match = Match(None, 0.0, "") if call.refresh else await self._find(prompt)
        answer = match.answer
        if answer is not None and not await self._may_serve(answer, call):
            answer = None
        if not call.refresh:
            kept = None if answer is None else answer.serve()
            self._context.report_shadow(NAME, call, outcome, kept=kept, why=match.why)
        if answer is None:
            tag_snapshot = await self._context.tag_versions.load(call.tags | _OWN_TAGS)
            await self._keep(call, prompt, outcome, match.vector, tag_snapshot)

    async def _find(self, prompt: Prompt) -> Match:
        index = await self._store.scope(prompt.scope)
        if prompt.slots is not None:
            answer, mismatch = index.by_slots(prompt.slots, prompt.tolerances)
            if answer is not None:
                return Match(answer, 1.0, "slots within tolerance")
            vetoes = ("slot",) if mismatch else ()
            return Match(None, 1.0, mismatch and f"slot: {mismatch}", vetoes=vetoes)
        same = index.by_text(prompt.text)
        if same is not None:
            return Match(same, 1.0, "the same text")
        if prompt.only_exact:
            return Match(None, 0.0, "")
        vector = await self._embed(prompt.text)
        if vector is None or self._policy is None or self._read is None:
            return Match(None, 0.0, "")
        return await self._judge(prompt, index, vector, self._policy, self._read)

    async def _judge(
        self,
        prompt: Prompt,
        index: ScopeIndex,
        vector: Vectors,
        policy: Policy,
        reading_of: Callable[[str], Reading],
    ) -> Match:
        """Return the nearest answer that *policy* lets serve *prompt*."""
        why, vetoes = "", frozenset[str]()
        reading = reading_of(prompt.text)
        for answer, score in index.nearest(vector, self._config.max_candidates):
            if score < policy.floor:
                break
            if self._is_dead(answer):
                index.remove(answer.number)
                continue
            judgement = policy.judge(reading, reading_of(answer.text), score)
            # To read and to judge a prompt takes milliseconds: others have their turn between two.
            await asyncio.sleep(0)
            if judgement.serve:
                return Match(answer, score, f"policy {policy.name}", vector)
            if not why:
                why = f"nearest at {score:.3f} refused by {', '.join(judgement.reasons)}"
                vetoes = frozenset(reason.partition(":")[0] for reason in judgement.reasons)
        return Match(None, 0.0, why, vector, tuple(sorted(vetoes)))

    async def _is_fresh(self, tag_snapshot: TagSnapshot) -> bool:
        return await self._context.tag_versions.check(tag_snapshot) is Freshness.FRESH

    async def _looks_fresh(self, tag_snapshot: TagSnapshot) -> bool:
        """Return the same, and leave no trace of having looked."""
        return await self._context.tag_versions.look(tag_snapshot) is Freshness.FRESH

    def _is_dead(self, answer: KnownAnswer) -> bool:
        """Return whether *answer* can never be served again and hides others that can."""
        if self._context.clock.time() >= answer.expires_at:
            return True
        return self._context.tag_versions.peek(answer.tag_snapshot) in {
            Freshness.STALE,
            Freshness.MISS,
        }

    async def _embed(self, text: str) -> Vectors | None:
        if self._batcher is None or len(text) > MAX_CHARACTERS:
            return None
        return await self._batcher.embed(text, self._config.embed_timeout)

    async def _may_serve(
        self, answer: KnownAnswer, call: Call, is_fresh: IsFresh | None = None
    ) -> bool:
        if self._context.clock.time() >= answer.expires_at:
            return False
        if call.max_age is not None and self._context.is_older(answer.outcome, call.max_age):
            return False
        return await (is_fresh or self._is_fresh)(answer.tag_snapshot)

    def _serve(self, answer: KnownAnswer, match: Match, prompt: Prompt, call: Call) -> Outcome:
        self._context.announce(NAME, "hit", call, match.why)
        if self._config.max_audited and self._audits < _MAX_AUDITS_UNDER_WAY:
            self._audits += 1
            recording = self._record(answer, match, prompt)
            task = self._context.tasks.spawn("similarity-audit", recording, context=copy_context())
            task.add_done_callback(self._recorded)
        score = "" if match.score == 1.0 else f" at {match.score:.3f}"
        return answer.serve().shaped_by(NAME, f"served by {match.why}{score}")

    async def _record(self, answer: KnownAnswer, match: Match, prompt: Prompt) -> None:
        hit = ServedHit(
            id="",
            at=self._context.clock.time(),
            scope=prompt.scope,
            number=answer.number,
            asked=prompt.text or _shown(prompt.slots),
            known=answer.text or _shown(answer.slots),
            score=round(match.score, 4),
            why=match.why,
        )
        await self._audit.record(hit)

    def _recorded(self, _: object) -> None:
        self._audits -= 1

    async def _keep(
        self,
        call: Call,
        prompt: Prompt,
        outcome: Outcome,
        vector: Vectors | None,
        tag_snapshot: TagSnapshot,
    ) -> None:
        """Keep *outcome* for later prompts, if it is an answer that may serve them."""
        if not call.store:
            self._skip(call, "its caller asked for that")
            return
        if why := inadmissible(outcome, self._refusals):
            self._skip(call, why)
            return
        now = self._context.clock.time()
        outcome = outcome if outcome.as_of is not None else outcome.evolve(as_of=now)
        ends = now + self._config.ttl
        if outcome.expires_at is not None:
            ends = min(ends, outcome.expires_at)
        versions = self._context.tag_versions
        if outcome.versions or not outcome.tags <= call.tags:
            tag_snapshot = await versions.extend(tag_snapshot, outcome.tags, outcome.versions)
        if ends <= now or not await self._is_fresh(tag_snapshot):
            self._skip(call, "out of date before it could be kept")
            return
        try:
            value = snapshot(outcome.value)
        except NotShareable as error:
            self._skip(call, str(error))
            return
        answer = KnownAnswer(
            number=0,
            text=prompt.text,
            slots=prompt.slots,
            vector=None if vector is None else vector.astype(np.float16),
            model=self._store.model,
            outcome=without_value(
                outcome.evolve(tags=outcome.tags | call.tags, versions=tag_snapshot.versions)
            ),
            value=value,
            tag_snapshot=tag_snapshot,
            expires_at=ends,
        )
        await self._store.put(prompt.scope, answer, ttl=ends - now)
        self._context.announce(NAME, "store", call)

    def _skip(self, call: Call, why: str) -> None:
        self._context.announce(NAME, "skipped", call, why)


def _noted(outcome: Outcome, text: str) -> Outcome:
    return outcome.evolve(notes=(*outcome.notes, Note(NAME, text)))


def _shown(slots: object) -> str:
    return str(dict(slots)) if isinstance(slots, dict) else str(slots)
