"""Reviews: a person's verdict on an answer that served another prompt, and its consequences."""

from __future__ import annotations

from argo_mw.plugin import Context
from argo_mw_similarity.answers.answer_store import AnswerStore
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.stats import RIGHT, WRONG, Stats


async def review(context: Context, config: SimilarityConfig, hit: ServedHit, *, wrong: bool) -> str:
    """Take *hit* off the list and count the verdict; what was wrong is served so no more, anywhere.

    An answer that the judge let serve another prompt goes on to serve its own: the verdict is
    forgotten. Any other answer is forgotten itself.

    Returns:
        What was done, in a sentence.

    Raises:
        SharedUnavailable: The shared store is away.
    """
    done = await _take_back(context, config, hit) if wrong else f"right: {hit.known!r} served"
    await Audit(context, max_hits=config.max_audited).drop(hit)
    stats = Stats(context)
    stats.count(f"{WRONG if wrong else RIGHT}{hit.why}")
    await stats.close()
    return done


async def _take_back(context: Context, config: SimilarityConfig, hit: ServedHit) -> str:
    store = AnswerStore(context, max_per_scope=config.max_entries_per_scope, max_entries=1)
    if not hit.alias:
        await store.forget(hit.scope, hit.number)
        return f"forgotten: the answer to {hit.known!r} is served no more"
    if await store.unlearn(hit.scope, hit.alias, ttl=config.ttl):
        return f"unlearned: the answer to {hit.known!r} is no longer that to {hit.asked!r}"
    return f"the answer to {hit.known!r} has expired meanwhile"
