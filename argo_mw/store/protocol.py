"""What a store that several instances share must do.

A driver keeps bytes under text keys. The core ships a memory and a SQLite driver; others come
from plugins. Cache, coalesce, guards, flags and similarity speak to this contract only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen


@frozen
class Count:
    """A counter after an attempt to add to it.

    Attributes:
        value: What the counter holds now.
        added: Whether the amount was added; false when it would have passed the limit.
    """

    value: int
    added: bool


@frozen
class Lease:
    """The right to do something alone for a while.

    Attributes:
        key: What is leased.
        holder: A random name of this holding, unknown to others.
        fence: A number that grows with every holder of this key: a write carrying an older
            fence than the newest is refused.
    """

    key: str
    holder: str
    fence: int


class Subscription(Protocol):
    """A listener's place at a channel."""

    async def aclose(self) -> None:
        """Stop listening. Idempotent."""


class Shared(Protocol):
    """A store that instances share.

    Keys are text of at most 512 bytes in UTF-8, values are bytes. Times to live are in seconds;
    ``None`` means no expiry. Operations raise :class:`~argo_mw.SharedUnavailable` when
    the store cannot be reached: optimizations treat that as "nothing known", guards refuse.
    """

    async def get(self, key: str) -> bytes | None:
        """The value under *key*, or ``None`` when there is none or it has expired."""

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """One value or ``None`` per key, in the order of *keys*."""

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Store *value* under *key*, for *ttl* seconds."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """Store *items*, values by key, each for *ttl* seconds."""

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove *keys*; how many of them existed."""

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """Store *value* only if *key* holds *expected* (``None``: nothing); whether it did.

        It is kept for *ttl* seconds, or until it is replaced.
        """

    async def add(
        self, key: str, amount: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> Count:
        """Add *amount* to the counter at *key*, created at 0, unless it would pass *limit*.

        *ttl*, in seconds, is set when the counter is created and not renewed. A negative amount
        gives back.
        """

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """Take the lease on *key* for *ttl* seconds, or ``None`` while another holds it."""

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """Hold *lease* for another *ttl* seconds; false when it has passed to another."""

    async def release(self, lease: Lease) -> bool:
        """Give *lease* up early; false when it was no longer held."""

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """Store *value* at *key* unless a holder newer than *lease* has stored; whether it did.

        It is kept for *ttl* seconds, or until it is replaced.
        """

    async def publish(self, channel: str, message: bytes) -> None:
        """Send *message* to whoever listens to *channel* now, in every instance."""

    async def subscribe(
        self, channel: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Call *on_message* for each message on *channel* from now on.

        Both callbacks run on the event loop and must not block. *on_gap* is called whenever
        messages may have been missed: after a lost or re-made connection, a full buffer.
        """

    async def scan(self, prefix: str) -> Sequence[str]:
        """The live keys that begin with *prefix*, in any order: for administration only."""

    async def aclose(self) -> None:
        """Release connections and files. Idempotent."""
