"""The dry run: what a call would find in the store, read without side effects."""

from __future__ import annotations

from argo_mw.plugin import Call, Context, SharedUnavailable
from argo_mw.store import Freshness
from argo_mw_cache.stored_answer import AnswerCodec, StoreProblem, store_key


async def look_into_store(context: Context, call: Call) -> str:
    """Say whether the answer to *call* in the store would be served, and for how long."""
    key, now = store_key(call), context.clock.time()
    try:
        data = await context.shared.get(key)
        if data is None:
            return "would miss: neither in memory nor in the shared store"
        # Not the layer's codec, which remembers what it has read.
        found = await AnswerCodec(context).read(data, key)
        if isinstance(found, StoreProblem):
            return f"would miss: the answer in the shared store is refused ({found.detail})"
        freshness = await context.tag_versions.look(found.tag_snapshot)
    except SharedUnavailable as error:
        return f"would miss: not in memory, and the shared store cannot be reached ({error})"
    expires_at = found.outcome.expires_at
    assert expires_at is not None
    if freshness is not Freshness.FRESH:
        return (
            f"would miss: by its tags' versions the answer in the shared store is {freshness.value}"
        )
    if expires_at <= now:
        return f"would miss: the answer in the shared store expired {now - expires_at:.0f} s ago"
    if call.max_age is not None and context.is_older(found.outcome, call.max_age):
        return "would miss: the answer in the shared store is too old for this call"
    return (
        f"would hit: the answer in the shared store is fresh for another {expires_at - now:.0f} s"
    )
