"""Shadow: how long answers would have lived, and how they would have compared with newer ones."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import define

from argo_mw.plugin import ASKED_AT, Call, Context, Freshness, NotShareable, Outcome, TagSnapshot
from argo_mw.store import Snapshot, snapshot

MAX_BYTES: Final = 64 << 20


@define(eq=False)
class _Kept:
    """An answer with the life that it would have had.

    Attributes:
        outcome: The answer, without its value.
        value: The value.
        tag_snapshot: The versions of its tags.
        subject: The symbol.
        kept_at: When it came, in monotonic seconds.
        ends: Until when it would have lived, in monotonic seconds; peers may have brought that
            forward.
        why: Why so long, in words.
    """

    outcome: Outcome
    value: Snapshot
    tag_snapshot: TagSnapshot
    subject: str
    kept_at: float
    ends: float
    why: str


class KeptInShadow:
    """The last answers to some questions; those of longest ago make room for new ones.

    Args:
        context: The application's context.
        max_answers: How many it keeps.
    """

    def __init__(self, context: Context, max_answers: int) -> None:
        self._max_answers = max_answers
        self._clock = context.clock
        self._versions = context.tag_versions
        self._context = context
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def find(self, call: Call) -> tuple[Outcome | None, str]:
        """Return the answer that would have lived when *call* came, and why it has that life."""
        kept = self._kept.get(call.key)
        asked_at = call.extensions.get(ASKED_AT)
        if kept is None or not isinstance(asked_at, float):
            return None, ""
        too_old = call.max_age is not None and self._context.is_older(kept.outcome, call.max_age)
        if too_old or not kept.kept_at <= asked_at < kept.ends:
            return None, ""
        if await self._versions.check(kept.tag_snapshot) is not Freshness.FRESH:
            return None, ""
        return kept.outcome.evolve(value=kept.value.copy()), kept.why

    async def keep(self, call: Call, outcome: Outcome, ttl: float, why: str) -> None:
        """Keep *outcome*, which would live for *ttl* seconds."""
        try:
            value = snapshot(outcome.value)
        except NotShareable:
            return
        tag_snapshot = await self._versions.load(call.tags)
        now = self._clock.monotonic()
        bare = outcome.evolve(value=None)
        self._drop(call.key)
        self._kept[call.key] = _Kept(bare, value, tag_snapshot, call.subject, now, now + ttl, why)
        self._bytes += value.size
        while len(self._kept) > self._max_answers or self._bytes > MAX_BYTES:
            self._drop(next(iter(self._kept)))

    def expire(self, subject: str) -> None:
        """Let the answers about *subject* end now: its price has moved."""
        now = self._clock.monotonic()
        for kept in self._kept.values():
            if kept.subject == subject:
                kept.ends = min(kept.ends, now)

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.value.size
