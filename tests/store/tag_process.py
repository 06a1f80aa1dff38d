"""One process with its tag versions, on a store of which a test chooses what it does."""

from __future__ import annotations

from functools import partial
from typing import Generic, TypeVar

import msgspec

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.health import Ability, StoreHealth
from argo_mw.store.protocol import Shared
from argo_mw.store.tag_mirror import TagMirror
from argo_mw.store.tag_reader import TagReader
from argo_mw.store.tag_writer import CHANNEL, TagWriter
from argo_mw.testing import FakeClock, RefusingStore

S = TypeVar("S", bound=Shared)


class TagProcess(Generic[S]):
    """A mirror of tag versions with its reader and writer.

    Attributes:
        messages: The keys that each message has announced, once the process listens.
    """

    def __init__(self, shared: S, clock: FakeClock, *, max_pending: int = 10) -> None:
        self.shared = shared
        self.clock = clock
        self.messages: list[list[str]] = []
        self.mirror = TagMirror(1000, lambda: None)
        self.health = StoreHealth(
            shared,
            clock,
            checks={
                one: partial(self._try, one)
                for one in (Ability.HEAR, Ability.WRITE, Ability.ANNOUNCE)
            },
            on_change=lambda _: None,
            retry=1.0,
        )
        self.health.on_trouble = lambda _: None
        self.writer = TagWriter(shared, clock, self.mirror, self.health, max_pending=max_pending)
        self.reader = TagReader(shared, self.mirror, self.writer, self.health)

    async def _try(self, ability: Ability) -> None:
        if isinstance(self.shared, RefusingStore) and ability in self.shared.refused:
            raise SharedUnavailable(ability.value)

    async def listen(self) -> None:
        def hear(message: bytes) -> None:
            self.messages.append(msgspec.json.decode(message)[1:])

        await self.shared.subscribe(CHANNEL, hear, lambda: None)

    def versions(self, name: str) -> tuple[bytes, bytes] | None:
        """Return the two versions of *name* that are mirrored."""
        known = self.mirror.get(name)
        return None if known is None else (known.hard, known.soft)

    async def aclose(self) -> None:
        await self.health.aclose()
        await self.reader.aclose()
        await self.writer.aclose()
        await self.shared.aclose()
