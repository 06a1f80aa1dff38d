"""The panel: the newest prompts that were served a known answer, for people to review."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from argo_mw.plugin import BadParameter, Button, Column, Context, Line, Panel, View
from argo_mw_similarity.answer_store import AnswerStore
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.config import SimilarityConfig

_NEWEST = 50


def panel(context: Context, config: Callable[[], SimilarityConfig]) -> Panel:
    """Return the panel of the hits of all tenants."""

    def audit() -> Audit:
        return Audit(context, max_hits=config().max_audited)

    async def read() -> View:
        return View([_line(hit) for hit in await audit().newest(_NEWEST)])

    async def find(key: str) -> ServedHit:
        # By the time too: the place of a hit is taken by a later one.
        for hit in await audit().newest(config().max_audited):
            if _key(hit) == key:
                return hit
        msg = "that answer is not on the list any more: it was reviewed, or newer ones replaced it"
        raise BadParameter(msg)

    async def wrong(key: str) -> str:
        hit = await find(key)
        store = AnswerStore(context, max_per_scope=config().max_entries_per_scope, max_entries=1)
        await store.forget(hit.scope, hit.number)
        await audit().drop(hit)
        return f"wrong, and served no more: the answer to {hit.known!r} served {hit.asked!r}"

    async def right(key: str) -> str:
        hit = await find(key)
        await audit().drop(hit)
        return f"right: the answer to {hit.known!r} served {hit.asked!r}"

    return Panel(
        "similarity",
        "Newest similar prompts served",
        (Column("when", "time"), "asked", "served the answer to", "score", "why"),
        read,
        buttons=(_button("wrong", wrong, "forget it everywhere"), _button("right", right, "")),
        fleet=True,
    )


def _button(name: str, press: Callable[[str], Awaitable[str]], then: str) -> Button:
    also = f", and {then}" if then else ""
    return Button(name, name.title(), press, f"Was the answer of {{}} {name}{also}?")


def _line(hit: ServedHit) -> Line:
    return Line((hit.at, hit.asked, hit.known, hit.score, hit.why), key=_key(hit))


def _key(hit: ServedHit) -> str:
    return f"{hit.id}:{hit.at!r}"
