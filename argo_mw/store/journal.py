"""The journal: what people and judges have changed in running programs, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from attrs import asdict

from argo_mw.base.clock import Clock
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.errors import Closed, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.base.printable import printable
from argo_mw.model.snapshot import JournalEntry
from argo_mw.store.codec import Codecs
from argo_mw.store.protocol import Shared

log = Log("argo_mw")

MAX_ENTRIES: Final = 500
"""Entries that are kept, the newest."""

_KEY: Final = "argo:journal"
_MAX_TEXT: Final = 500
_TIMEOUT: Final = 1.0
_TRIES: Final = 8


class Journal:
    """The newest changes, in the shared store: all that share it read the same.

    Args:
        shared: The store.
        codecs: Values to bytes and back.
        clock: The time.
        by: The name of this instance.
    """

    def __init__(self, shared: Shared, codecs: Codecs, clock: Clock, by: str = "") -> None:
        self._shared = shared
        self._codecs = codecs
        self._clock = clock
        self._by = by

    async def note(self, what: str, why: str = "") -> bool:
        """Write down that *what* was done because of *why*, in the log too.

        A change is not undone because it could not be written down: nothing is raised, and no more
        than a second is waited.

        Returns:
            Whether it is in the journal.
        """
        entry = JournalEntry(self._clock.time(), _shown(what), _shown(why), self._by)
        log.info("changed", what=entry.what, why=entry.why)
        why_not = "others wrote into it at each try"
        try:
            limit = self._clock.monotonic() + _TIMEOUT
            if await fail_at(self._add(entry), limit, self._clock):
                return True
        except (SharedUnavailable, TimeLimitExceeded, Closed):
            why_not = "the store is away"
        log.warning("a change is not in the journal", why=why_not, what=entry.what)
        return False

    async def read(self) -> Sequence[JournalEntry]:
        """Return the entries, the newest first.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        return self._entries(await self._shared.get(_KEY))

    async def _add(self, entry: JournalEntry) -> bool:
        for _ in range(_TRIES):
            value = await self._shared.get(_KEY)
            entries = [entry, *self._entries(value)][:MAX_ENTRIES]
            data = self._codecs.encode([asdict(one) for one in entries], _KEY)
            if await self._shared.compare_and_set(_KEY, value, data):
                return True
        return False

    def _entries(self, value: bytes | None) -> Sequence[JournalEntry]:
        if value is None:
            return ()
        try:
            plain = self._codecs.decode(value, _KEY)
            return msgspec.convert(plain, tuple[JournalEntry, ...])
        except msgspec.ValidationError:
            return ()


def _shown(text: str) -> str:
    return printable(text[:_MAX_TEXT], lines=True)[:_MAX_TEXT]
