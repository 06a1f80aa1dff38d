"""The layer: an equivalent prompt of the same scope answers before the model is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from attrs import frozen

from argo_mw.plugin import (
    AnyOperation,
    Call,
    ConfigError,
    Context,
    LayerActed,
    Next,
    Note,
    NotShareable,
    Outcome,
)
from argo_mw.store import Freshness, TagSnapshot, snapshot
from argo_mw_similarity.admit import inadmissible, refusals
from argo_mw_similarity.audit import Audit, Hit
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.embed import MAX_TOKENS, Batcher, Embedder, Vectors
from argo_mw_similarity.entry import Entry, kept
from argo_mw_similarity.lexicon import Lexicon, word_class
from argo_mw_similarity.lexicon import load as load_lexicon
from argo_mw_similarity.parts import policy_of
from argo_mw_similarity.policy import Policy
from argo_mw_similarity.prompt import Prompt, Prompts
from argo_mw_similarity.reading import Reading, read
from argo_mw_similarity.shelf import Shelf
from argo_mw_similarity.slots import Tolerance
from argo_mw_similarity.store import Store

NAME = "similarity"
_READINGS = 4096
_AUDITS_UNDER_WAY = 64
_CHARACTERS_PER_TOKEN = 3
"""Texts with more characters than this per token the model reads are never embedded."""


@frozen
class Match:
    """What was found for a prompt.

    Attributes:
        entry: The answer to serve, or ``None``.
        score: The cosine of the prompts, 1 for slots and equal texts.
        why: How they are equivalent, or what spoke against the nearest one.
        vector: The prompt's vector, when it was needed.
        vetoes: The names of what spoke against the nearest one.
    """

    entry: Entry | None
    score: float
    why: str
    vector: Vectors | None = None
    vetoes: tuple[str, ...] = ()


class Similarity:
    """Serves answers to equivalent prompts and keeps new ones.

    Until :meth:`load` has ended, only equal texts and slots are found.

    Args:
        config: The plugin's configuration.
        context: What the framework gives.
        policies: Policies that other plugins bring, for the lexicon that was loaded.
        embedder: Makes vectors, or ``None`` where none is installed.
        slots: Operation → slot → tolerance.
    """

    def __init__(
        self,
        config: SimilarityConfig,
        context: Context,
        *,
        policies: Callable[[Lexicon], Mapping[str, Policy]],
        embedder: Embedder | None,
        slots: Mapping[str, Mapping[str, Tolerance]],
    ) -> None:
        self._config = config
        self._context = context
        self._policies = policies
        self._directories = () if config.data is None else (config.data,)
        moments = word_class("moment", *self._directories)
        self._prompts = Prompts(moments, slots)
        self._batcher = None if embedder is None else Batcher(embedder, context.clock)
        self._store = Store(context, per_scope=config.entries_per_scope, most=config.max_entries)
        self._policy: Policy | None = None
        self._read: Callable[[str], Reading] | None = None
        self._audit = Audit(context, most=config.audit)
        self._audits = 0
        self._refusals = refusals(*self._directories)

    async def open(self) -> None:
        """Load lexicon and model, off the loop; then the policy decides.

        Raises:
            ConfigError: There is no policy of the configured name.
        """
        try:
            lexicon = await asyncio.to_thread(load_lexicon, *self._directories)
            self._policy = policy_of(self._config, lexicon, self._policies(lexicon))
            self._read = lru_cache(maxsize=_READINGS)(lambda text: read(text, lexicon))
            if self._batcher is not None:
                await self._batcher.load()
                self._store.model = self._batcher.embedder.model
                self._store.drop_mirrors()
        except ConfigError:
            raise
        except Exception as error:
            batcher, self._batcher = self._batcher, None
            if batcher is not None:
                await batcher.aclose()
            self._context.warn_once(NAME, f"only equal texts and slots are found: {error}")

    async def close(self) -> None:
        """Let go of the model and the channel. Idempotent."""
        if self._batcher is not None:
            await self._batcher.aclose()
        await self._store.aclose()

    @property
    def entries(self) -> int:
        """How many answers are mirrored in this process."""
        return len(self._store)

    def serves(self, operation: AnyOperation) -> bool:
        """Language-model operations, and those whose slots are configured."""
        return operation.kind == "llm" or operation.name in self._prompts.slots

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """The answer to an equivalent prompt, or a new one, kept for later prompts."""
        prompt = self._prompts.of(call)
        if prompt is None:
            return await call_next(call)
        if prompt.momentary:
            return _noted(await call_next(call), "not looked up: the answer depends on the moment")
        match = Match(None, 0.0, "not looked up: a refresh")
        if not call.refresh:
            match = await self._find(prompt)
            if match.entry is not None and await self._may_serve(match.entry, call):
                return self._serve(match.entry, match, prompt, call)
        self._tell("miss" if not match.why else "refused", call, match.why)
        for veto in match.vetoes:
            self._tell(f"veto {veto}", call)
        tag_snapshot = await self._context.tag_versions.load(call.tags)
        outcome = await call_next(call)
        await self._keep(call, prompt, outcome, match.vector, tag_snapshot)
        return _noted(outcome, match.why) if match.why else outcome

    def explain(self, call: Call) -> str:
        """What the layer would do with *call*, as far as that is known without waiting."""
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

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        """Look up and keep, but serve nothing."""
        prompt = self._prompts.of(call)
        if prompt is None or prompt.momentary:
            return
        match = await self._find(prompt)
        self._tell("would-hit" if match.entry is not None else "would-miss", call, match.why)
        if match.entry is None:
            tag_snapshot = await self._context.tag_versions.load(call.tags)
            await self._keep(call, prompt, outcome, match.vector, tag_snapshot)

    # -- finding -------------------------------------------------------------------------

    async def _find(self, prompt: Prompt) -> Match:
        shelf = await self._store.shelf(prompt.scope)
        if prompt.slots is not None:
            entry, fault = shelf.filled(prompt.slots, prompt.tolerances)
            if entry is not None:
                return Match(entry, 1.0, "slots within tolerance")
            vetoes = ("slot",) if fault else ()
            return Match(None, 1.0, fault and f"slot: {fault}", vetoes=vetoes)
        same = shelf.same(prompt.text)
        if same is not None:
            return Match(same, 1.0, "the same text")
        if prompt.only_exact:
            return Match(None, 0.0, "")
        vector = await self._embed(prompt.text)
        if vector is None or self._policy is None or self._read is None:
            return Match(None, 0.0, "")
        return self._judge(prompt, shelf, vector, self._policy, self._read)

    def _judge(
        self,
        prompt: Prompt,
        shelf: Shelf,
        vector: Vectors,
        policy: Policy,
        reading_of: Callable[[str], Reading],
    ) -> Match:
        """The nearest entry that *policy* lets serve *prompt*."""
        why, vetoes = "", frozenset[str]()
        reading = reading_of(prompt.text)
        for entry, score in shelf.nearest(vector, self._config.candidates):
            if score < policy.floor:
                break
            if self._is_dead(entry):
                shelf.remove(entry.number)
                continue
            verdict = policy.judge(reading, reading_of(entry.text), score)
            if verdict.serve:
                return Match(entry, score, f"policy {policy.name}", vector)
            if not why:
                why = f"nearest at {score:.3f} refused by {', '.join(verdict.reasons)}"
                vetoes = frozenset(reason.partition(":")[0] for reason in verdict.reasons)
        return Match(None, 0.0, why, vector, tuple(sorted(vetoes)))

    def _is_dead(self, entry: Entry) -> bool:
        """Whether *entry* can never be served again; it must not stand before one that can."""
        if self._context.clock.time() >= entry.expires_at:
            return True
        return self._context.tag_versions.peek(entry.tag_snapshot) in {
            Freshness.STALE,
            Freshness.MISS,
        }

    async def _embed(self, text: str) -> Vectors | None:
        if self._batcher is None or len(text) > MAX_TOKENS * _CHARACTERS_PER_TOKEN:
            return None
        return await self._batcher.embed(text, self._config.embed_timeout)

    async def _may_serve(self, entry: Entry, call: Call) -> bool:
        now = self._context.clock.time()
        if now >= entry.expires_at:
            return False
        if call.max_age is not None and entry.outcome.age(now) > call.max_age:
            return False
        return await self._context.tag_versions.check(entry.tag_snapshot) is Freshness.FRESH

    # -- serving and keeping -------------------------------------------------------------

    def _serve(self, entry: Entry, match: Match, prompt: Prompt, call: Call) -> Outcome:
        self._tell("hit", call, match.why)
        if self._config.audit and self._audits < _AUDITS_UNDER_WAY:
            self._audits += 1
            task = self._context.tasks.spawn("similarity-audit", self._record(entry, match, prompt))
            task.add_done_callback(self._recorded)
        score = "" if match.score == 1.0 else f" at {match.score:.3f}"
        return entry.serve().shaped_by(NAME, f"served by {match.why}{score}")

    async def _record(self, entry: Entry, match: Match, prompt: Prompt) -> None:
        hit = Hit(
            id="",
            at=self._context.clock.time(),
            scope=prompt.scope,
            number=entry.number,
            asked=prompt.text or _shown(prompt.slots),
            known=entry.text or _shown(entry.slots),
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
        if why := inadmissible(outcome, self._refusals):
            self._tell("skipped", call, why)
            return
        now = self._context.clock.time()
        outcome = outcome if outcome.as_of is not None else outcome.evolve(as_of=now)
        ends = now + self._config.ttl
        if outcome.expires_at is not None:
            ends = min(ends, outcome.expires_at)
        if late := outcome.tags - call.tags:
            tag_snapshot = await self._context.tag_versions.extend(tag_snapshot, late)
        if ends <= now or self._context.tag_versions.peek(tag_snapshot) is not Freshness.FRESH:
            self._tell("skipped", call, "out of date before it could be kept")
            return
        try:
            protected = snapshot(outcome.value)
        except NotShareable as error:
            self._tell("skipped", call, str(error))
            return
        entry = Entry(
            number=0,
            text=prompt.text,
            slots=prompt.slots,
            vector=None if vector is None else vector.astype(np.float16),
            model=self._store.model,
            outcome=kept(outcome.evolve(tags=outcome.tags | call.tags)),
            protected=protected,
            tag_snapshot=tag_snapshot,
            expires_at=ends,
        )
        await self._store.put(prompt.scope, entry, ttl=ends - now)
        self._tell("store", call)

    def _tell(self, action: str, call: Call, detail: str = "") -> None:
        if self._context.events.active:
            self._context.events.emit(LayerActed(NAME, action, call, detail))


def _noted(outcome: Outcome, text: str) -> Outcome:
    return outcome.evolve(notes=(*outcome.notes, Note(NAME, text)))


def _shown(slots: object) -> str:
    return str(dict(slots)) if isinstance(slots, dict) else str(slots)
