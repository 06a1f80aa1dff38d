"""The audit: served hits, kept for people to review."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from attrs import asdict, frozen

from argo_mw.plugin import Context, SharedUnavailable

_PREFIX = "similarity:audit:"
_BATCH = 500
_TTL = 7 * 86400.0


@frozen
class ServedHit:
    """An answer that served another prompt.

    Attributes:
        id: What identifies it to a reviewer.
        at: Wall time in seconds.
        scope: The scope of both prompts.
        number: The number of the answer that was served.
        asked: The prompt that was asked.
        known: The prompt that the served answer is to.
        score: The cosine, or 1 for slots and equal texts.
        why: What made the two equivalent.
        alias: The number of the judge's verdict that made them so, or 0.
    """

    id: str
    at: float
    scope: str
    number: int
    asked: str
    known: str
    score: float
    why: str
    alias: int = 0


class Audit:
    """A ring of the last served hits, in the shared store.

    Args:
        context: Where the store and the codecs come from.
        max_hits: How many hits are kept; 0 keeps none.
    """

    def __init__(self, context: Context, *, max_hits: int) -> None:
        self._context = context
        self._max_hits = max_hits

    async def record(self, hit: ServedHit) -> None:
        """Keep *hit* in the place of the oldest; do nothing if the store is unavailable."""
        if self._max_hits == 0:
            return
        try:
            place = (await self._context.shared.add(f"{_PREFIX}n", 1)).value % self._max_hits
            key = f"{_PREFIX}{place}"
            data = self._context.codecs.encode({**asdict(hit), "id": str(place)}, key)
            await self._context.shared.set(key, data, ttl=_TTL)
        except SharedUnavailable:
            return

    async def hits(self) -> list[ServedHit]:
        """Return the hits that are kept, newest first."""
        return await self._at(range(self._max_hits))

    async def newest(self, count: int) -> list[ServedHit]:
        """Return the newest of the hits that are kept, *count* at most, newest first."""
        if self._max_hits == 0:
            return []
        written = int(await self._context.shared.get(f"{_PREFIX}n") or 0)
        count = min(count, written, self._max_hits)
        return await self._at([(written - back) % self._max_hits for back in range(count)])

    async def hit(self, identity: str) -> ServedHit | None:
        """Return the hit that a reviewer knows by *identity*, if it is kept."""
        found = await self._at([identity]) if identity.isdecimal() else []
        return found[0] if found else None

    async def _at(self, places: Sequence[int | str]) -> list[ServedHit]:
        """Return the hits in *places* of the ring, newest first."""
        found: list[ServedHit] = []
        for first in range(0, len(places), _BATCH):
            keys = [f"{_PREFIX}{place}" for place in places[first : first + _BATCH]]
            for key, data in zip(keys, await self._context.shared.get_many(keys), strict=True):
                if data is None:
                    continue
                hit = _hit_in(await self._context.codecs.decode_off_loop(data, key))
                if hit is not None:
                    found.append(hit)
        return sorted(found, key=lambda hit: -hit.at)

    async def drop(self, hit: ServedHit) -> None:
        """Remove *hit*, which has been reviewed."""
        await self._context.shared.delete([f"{_PREFIX}{hit.id}"])


def _hit_in(record: object) -> ServedHit | None:
    """Return the hit in *record*, or ``None`` if this version would not have written it."""
    try:
        return msgspec.convert(record, ServedHit)
    except msgspec.ValidationError:
        return None
