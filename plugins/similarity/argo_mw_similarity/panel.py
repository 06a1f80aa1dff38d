"""The panel: the newest prompts that were served a known answer, for people to review."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from argo_mw.plugin import BadParameter, Button, Column, Context, Line, Panel, View
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.review import review

_NEWEST = 50


def panel(context: Context, config: Callable[[], SimilarityConfig]) -> Panel:
    """Return the panel of the hits of all tenants."""

    def audit() -> Audit:
        return Audit(context, max_hits=config().max_audited)

    async def read() -> View:
        return View([_line(hit) for hit in await audit().newest(_NEWEST)])

    async def find(key: str) -> ServedHit:
        # By the time too: the place of a hit is taken by a later one.
        hit = await audit().hit(key.partition(":")[0])
        if hit is not None and _key(hit) == key:
            return hit
        msg = "that answer is not on the list any more: it was reviewed, or newer ones replaced it"
        raise BadParameter(msg)

    def judged(*, wrong: bool) -> Callable[[str], Awaitable[str]]:
        async def press(key: str) -> str:
            return await review(context, config(), await find(key), wrong=wrong)

        return press

    return Panel(
        "similarity",
        "Newest similar prompts served",
        ("asked", "served the answer to", "score", "why", Column("when", "time")),
        read,
        buttons=(
            Button("wrong", "Wrong", judged(wrong=True), "Serve so no more, anywhere: {}?"),
            Button("right", "Right", judged(wrong=False), "Was what served this right: {}?"),
        ),
        fleet=True,
    )


def _line(hit: ServedHit) -> Line:
    return Line((hit.asked, hit.known, hit.score, hit.why, hit.at), key=_key(hit))


def _key(hit: ServedHit) -> str:
    return f"{hit.id}:{hit.at!r}"
