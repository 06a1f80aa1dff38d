"""Served hits, kept for people to review."""

from __future__ import annotations

from attrs import asdict, frozen

from argo_mw.plugin import Context, SharedUnavailable

_PREFIX = "similarity:audit:"


@frozen
class Hit:
    """One served hit.

    Attributes:
        id: What a verdict names.
        at: Wall time in seconds.
        scope: The scope of both prompts.
        number: The entry that was served.
        asked: The prompt that was asked.
        known: The prompt that had been answered.
        score: The cosine, or 1 for slots and equal texts.
        why: How the two were found equivalent.
    """

    id: str
    at: float
    scope: str
    number: int
    asked: str
    known: str
    score: float
    why: str


class Audit:
    """A ring of the last served hits, in the shared store.

    Args:
        context: Where the store and the codecs come from.
        most: How many hits are kept.
        ttl: Seconds for which one is kept.
    """

    def __init__(self, context: Context, *, most: int, ttl: float = 7 * 86400.0) -> None:
        self._context = context
        self._most = most
        self._ttl = ttl

    async def record(self, hit: Hit) -> None:
        """Keep *hit*, in the place of the oldest. A store that is away keeps nothing."""
        if self._most == 0:
            return
        try:
            place = (await self._context.shared.add(f"{_PREFIX}n", 1)).value % self._most
            key = f"{_PREFIX}{place}"
            data = self._context.codecs.encode({**asdict(hit), "id": str(place)}, key)
            await self._context.shared.set(key, data, ttl=self._ttl)
        except SharedUnavailable:
            return

    async def hits(self) -> list[Hit]:
        """The hits that are kept, newest first."""
        keys = [f"{_PREFIX}{place}" for place in range(self._most)]
        found: list[Hit] = []
        for first in range(0, len(keys), 500):
            part = keys[first : first + 500]
            for key, data in zip(part, await self._context.shared.get_many(part), strict=True):
                record = None if data is None else self._context.codecs.decode(data, key)
                if isinstance(record, dict):
                    found.append(Hit(**record))
        return sorted(found, key=lambda hit: -hit.at)

    async def drop(self, hit: Hit) -> None:
        """Take *hit* off the list: it has been reviewed."""
        await self._context.shared.delete([f"{_PREFIX}{hit.id}"])
