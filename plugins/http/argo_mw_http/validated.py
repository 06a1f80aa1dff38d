"""Answers that can be revalidated with a conditional request."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import frozen

from argo_mw.plugin import Call, Context
from argo_mw.store import Freshness, TagSnapshot
from argo_mw_http.answers import HttpAnswer

_OVERHEAD: Final = 512
"""Bytes of an entry beside its body and headers, about."""
_STILL_VALID: Final = (Freshness.FRESH, Freshness.STALE)


@frozen(eq=False)
class _Entry:
    """An answer, and the versions of its tags from before it was asked for."""

    answer: HttpAnswer
    versions: TagSnapshot
    size: int


class Validated:
    """The last answers with a validator, by the keys of their calls.

    Caches keep answers while they are fresh; these are needed afterwards. An answer that was
    invalidated meanwhile is never asked about.

    Args:
        context: The application's context.
        max_bytes: Bytes of answers at most; those that were not used for longest go first.
    """

    def __init__(self, context: Context, max_bytes: int) -> None:
        self._versions = context.tag_versions
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def begin(self, call: Call) -> TagSnapshot:
        """Return the versions of the tags of *call*, before it is asked."""
        return await self._versions.load(call.tags)

    async def of(self, call: Call) -> HttpAnswer | None:
        """Return the last answer to *call*, or ``None`` if there is none to be confirmed."""
        entry = self._entries.get(call.key)
        if entry is None:
            return None
        if await self._versions.check(entry.versions) not in _STILL_VALID:
            self.forget(call)
            return None
        if call.key in self._entries:
            self._entries.move_to_end(call.key)
        return entry.answer

    def keep(self, call: Call, answer: HttpAnswer, versions: TagSnapshot) -> None:
        """Keep *answer*, the last one to *call*, where it has a validator."""
        self.forget(call)
        headers = sum(len(name) + len(value) for name, value in answer.headers)
        size = len(answer.body) + headers + _OVERHEAD
        if not answer.validators or size > self._max_bytes:
            return
        self._entries[call.key] = _Entry(answer, versions, size)
        self._size += size
        while self._size > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size

    def forget(self, call: Call) -> None:
        """Forget the last answer to *call*."""
        entry = self._entries.pop(call.key, None)
        if entry is not None:
            self._size -= entry.size
