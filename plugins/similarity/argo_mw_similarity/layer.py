"""The layer: the answer to an equivalent prompt of the same scope replaces a call of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from functools import lru_cache

import numpy as np
from attrs import evolve

from argo_mw.plugin import (
    NO_COST,
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
from argo_mw_similarity.answers.admission import inadmissible, refusals
from argo_mw_similarity.answers.answer_store import AnswerStore
from argo_mw_similarity.answers.known_answer import KnownAnswer, without_value
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.comparison.policy import Policy
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.factory import JUDGED, policy_of
from argo_mw_similarity.language.lexicon import Lexicon, word_class
from argo_mw_similarity.language.lexicon import load as load_lexicon
from argo_mw_similarity.language.reading import read
from argo_mw_similarity.opinions.opinions import opinions_of
from argo_mw_similarity.opinions.same_question import is_asked_for
from argo_mw_similarity.opinions.second_opinion import Decision
from argo_mw_similarity.prompt import Prompt, Prompts
from argo_mw_similarity.search.embedders import Vectors
from argo_mw_similarity.search.embedding_batcher import EmbeddingBatcher
from argo_mw_similarity.search.finder import Finder, Match
from argo_mw_similarity.slots import Tolerance
from argo_mw_similarity.stats import NANO, Stats

IsFresh = Callable[[TagSnapshot], Awaitable[bool]]

NAME = "similarity"
_OWN_TAGS = frozenset({"layer:similarity"})
"""What every known answer depends on beside its own tags: killing the flag replaces it."""

_MAX_READINGS = 4096
_MAX_AUDITS_UNDER_WAY = 64
_SHARE = 0.16
"""The share of the application's memory for known prompts and their answers."""
PROMPT_BYTES = 12_000
"""Bytes that a prompt takes, its answer and vector included: both of 2,000 letters, about."""
_NO_EMBEDDER = (
    "no embedder is installed: only equal texts and slots are found; "
    "pip install 'argo-mw-similarity[onnx]'"
)


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
        most = context.memory.items_within(_SHARE, PROMPT_BYTES, config.max_entries)
        self._store = AnswerStore(
            context,
            max_per_scope=min(most, config.max_entries_per_scope),
            max_entries=most,
        )
        self._finder = Finder(self._embed, self._is_dead, config.max_candidates)
        self._stats = Stats(context)
        self._second, self._checker = opinions_of(
            config, context, self._stats, self._store, self._may_serve
        )
        self._audit = Audit(context, max_hits=config.max_audited)
        self._audits = 0
        self._refusals = refusals(*self._directories)

    async def open(self) -> None:
        """Load lexicon and model, off the loop, and subscribe to the answers of other instances.

        Without lexicon or model only equal texts and slots are found, which is reported.

        Raises:
            ConfigError: There is no policy of the configured name, or it cannot keep its bound.
        """
        try:
            await self._load()
            await self._store.open()
            if self._second is not None:
                await self._second.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Release the model and the subscription. Idempotent."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await batcher.close()
        if self._second is not None:
            await self._second.close()
        await self._stats.close()
        await self._store.close()

    async def _load(self) -> None:
        try:
            lexicon = await asyncio.to_thread(load_lexicon, *self._directories)
            self._finder = evolve(
                self._finder,
                policy=policy_of(self._config, lexicon, self._policies(lexicon)),
                reading_of=lru_cache(maxsize=_MAX_READINGS)(lambda text: read(text, lexicon)),
            )
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
        prompt = self._prompt_of(call)
        if prompt is None:
            return await call_next(call)
        if prompt.momentary:
            return _noted(await call_next(call), "not looked up: the answer depends on the moment")
        decision = Decision(Match(why="not looked up: a refresh"))
        if not call.refresh:
            decision = await self._decide(prompt, call)
            answer = decision.match.answer
            if answer is not None and await self._may_serve(answer, call):
                return self._serve(answer, decision, prompt, call)
        match, spent = decision.match, decision.spent
        self._refuse(match, call)
        tag_snapshot = await self._context.tag_versions.load(call.tags | _OWN_TAGS)
        outcome = await call_next(call)
        if self._second is not None and decision.candidate is not None:
            spent += await self._second.learn(decision.candidate, prompt, call, outcome)
        await self._keep(call, prompt, outcome, match.vector, tag_snapshot)
        if spent is not NO_COST:
            outcome = outcome.evolve(cost=outcome.cost + spent)
        return _noted(outcome, match.why) if match.why else outcome

    def explain(self, call: Call) -> str:
        """Say what it would do with *call*, as far as that is known without waiting."""
        prompt = self._prompt_of(call)
        if prompt is None:
            return "would pass it on: no prompt among its parameters"
        if prompt.momentary:
            return "would pass it on: its answer depends on the moment"
        if prompt.slots is not None:
            return f"would look for an answer with equal slots ({', '.join(sorted(prompt.slots))})"
        policy = self._finder.policy
        if prompt.only_exact or self._batcher is None or policy is None:
            return "would look for an answer to the same text"
        return f"would ask the policy {policy.name!r} about the nearest prompts"

    async def dry_run(self, call: Call) -> str:
        """Say whether a known answer would be served to *call*, after looking for one."""
        prompt = self._prompt_of(call)
        if prompt is None or prompt.momentary:
            return self.explain(call)
        match = await self._find(prompt)
        if match.answer is None:
            why = match.why or "no known answer is near"
            doubt = match.undecided and self._config.policy == JUDGED
            return f"would ask the model{' and might ask the judge' if doubt else ''}: {why}"
        if not await self._may_serve(match.answer, call, self._looks_fresh):
            return f"would ask the model: the answer known by {match.why} is out of date"
        return f"would serve a known answer, by {match.why} at {match.score:.3f}"

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        """Report what would have been served to *call*, and keep *outcome* where nothing would."""
        prompt = self._prompt_of(call)
        if prompt is None or prompt.momentary:
            return
        match = Match() if call.refresh else await self._find(prompt)
        if self._second is not None:
            match = await self._second.shadow(match, prompt, call, outcome)
        answer = match.answer
        if answer is not None and not await self._may_serve(answer, call):
            answer = None
        if not call.refresh:
            kept = None if answer is None else answer.serve()
            self._context.report_shadow(NAME, call, outcome, kept=kept, why=match.why)
        if answer is None:
            tag_snapshot = await self._context.tag_versions.load(call.tags | _OWN_TAGS)
            await self._keep(call, prompt, outcome, match.vector, tag_snapshot)

    def _prompt_of(self, call: Call) -> Prompt | None:
        """Return the prompt of *call*; what a judge asks a model is never answered by the like."""
        return None if is_asked_for(call.ancestors) else self._prompts.of(call)

    async def _find(self, prompt: Prompt) -> Match:
        return await self._finder.find(prompt, await self._store.scope(prompt.scope))

    async def _decide(self, prompt: Prompt, call: Call) -> Decision:
        match = await self._find(prompt)
        if self._second is None:
            return Decision(match)
        return await self._second.decide(match, prompt, call)

    def _refuse(self, match: Match, call: Call) -> None:
        """Announce that nothing serves *call*, and what speaks against the nearest prompt."""
        announce = self._context.announce
        announce(NAME, "refused" if match.reasons else "miss", call, match.why)
        self._stats.count("refused" if match.reasons else "missed")
        for veto in match.vetoes:
            announce(NAME, f"veto {veto}", call)
            self._stats.count(f"veto:{veto}")

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
        if self._installed is None and self._config.embedder != "none":
            # Said here, where one is missed: most programs and commands need none.
            self._context.warn_once(NAME, _NO_EMBEDDER)
        if self._batcher is None:
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

    def _serve(
        self, answer: KnownAnswer, decision: Decision, prompt: Prompt, call: Call
    ) -> Outcome:
        match, spent = decision.match, decision.spent
        self._context.announce(NAME, "hit", call, match.why)
        self._stats.count(f"served:{match.why}")
        self._stats.count("saved:nano_usd", round((answer.usd or 0.0) * NANO))
        if self._config.max_audited and self._audits < _MAX_AUDITS_UNDER_WAY:
            self._audits += 1
            recording = self._record(answer, match, prompt)
            task = self._context.tasks.spawn("similarity-audit", recording, context=copy_context())
            task.add_done_callback(self._recorded)
        self._checker.served(answer, decision, prompt, call)
        score = "" if match.score == 1.0 else f" at {match.score:.3f}"
        outcome = answer.serve().shaped_by(NAME, f"served by {match.why}{score}")
        return outcome if spent is NO_COST else outcome.evolve(cost=spent)

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
            alias=match.alias,
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
        if why := self._inadmissible(call, outcome):
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
        kept = outcome.evolve(tags=outcome.tags | call.tags, versions=tag_snapshot.versions)
        answer = KnownAnswer(
            number=0,
            text=prompt.text,
            slots=prompt.slots,
            vector=None if vector is None else vector.astype(np.float16),
            model=self._store.model,
            outcome=without_value(kept),
            value=value,
            tag_snapshot=tag_snapshot,
            expires_at=ends,
            usd=outcome.cost.usd if outcome.attempts else None,
            took=sum(attempt.latency for attempt in outcome.attempts),
        )
        await self._store.put(prompt.scope, answer, ttl=ends - now)
        self._context.announce(NAME, "store", call)

    def _inadmissible(self, call: Call, outcome: Outcome) -> str:
        """Return why *outcome* may serve no other prompt, if so."""
        return inadmissible(outcome, self._refusals) if call.store else "its caller asked for that"

    def _skip(self, call: Call, why: str) -> None:
        self._context.announce(NAME, "skipped", call, why)


def _noted(outcome: Outcome, text: str) -> Outcome:
    return outcome.evolve(notes=(*outcome.notes, Note(NAME, text)))


def _shown(slots: object) -> str:
    return str(dict(slots)) if isinstance(slots, dict) else str(slots)
