"""The contract of a store that several instances share.

A driver keeps bytes under text keys. The core ships a memory and a SQLite driver; others come
from plugins. Layers, guards and flags know this contract only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import frozen
from msgspec import Struct

EPOCH_KEY = "argo:epoch"
"""The counter whose value tells a store that has counted without loss from one that has not."""


def epoch_key(part: str = "") -> str:
    """Return the key of the counter that holds the epoch of a *part* of a store."""
    return f"{EPOCH_KEY}:{{{part}}}" if part else EPOCH_KEY


WITNESS_TTL = 90 * 86_400.0
"""Seconds for which a store keeps the counter of a witness from its last addition on."""


@frozen
class Witness:
    """A count that a store is known to have reached: one that holds less was put back.

    Attributes:
        key: The counter that the store keeps for the witness: how many additions it made.
        count: The least that it holds.
    """

    key: str
    count: int


class Count(Struct, frozen=True):
    """A counter after an attempt to add to it.

    Attributes:
        value: The counter's value now.
        added: Whether the amount was added; false when it would have passed the limit.
        witnessed: What the counter of the witness holds now, 0 without a witness.
    """

    value: int
    added: bool
    witnessed: int = 0


@frozen
class Lease:
    """The right of one holder, for a limited time, to do something alone.

    Attributes:
        key: The key that is leased.
        holder: A random name, known to this holder only.
        fence: A number that grows with every holder of this key: a write carrying an older
            fence than the newest is refused.
    """

    key: str
    holder: str
    fence: int


class Write(Struct, frozen=True):
    """A value to be stored.

    Attributes:
        key: Where.
        value: The value.
        ttl: Seconds for which it is kept, or ``None`` until it is replaced.
    """

    key: str
    value: bytes
    ttl: float | None


class Subscription(Protocol):
    """A listener on a channel."""

    async def aclose(self) -> None:
        """Stop listening. Idempotent."""


class Shared(Protocol):
    """A store that instances share.

    Keys are text of at most 512 bytes in UTF-8, values are bytes. Times to live are in seconds;
    ``None`` means no expiry. Operations raise :class:`~argo_mw.SharedUnavailable` when
    the store cannot be reached: layers treat that as "nothing known", guards refuse.

    A caller that is cancelled takes nothing. What :meth:`acquire`, or :meth:`add` with a limit,
    grants to it all the same is given back by the driver as soon as it knows, at the latest when
    it is closed. Giving back is not undone by a cancellation: a :meth:`release` or an :meth:`add`
    of a negative amount that was asked is carried out.

    A store that was slow, or refused a write, takes no more until a probe in the background has
    written: no caller waits longer than the driver's time limit, and none queues behind another for
    it. A driver that keeps an :class:`~argo_mw.store.Availability` in its attribute
    ``availability`` has its outages noticed as they begin and end. One that counts in its attribute
    ``openings`` how often it has connected has what its store may have lost meanwhile looked for.

    A store may consist of several places, each of which can be away, or lose what it holds, by
    itself. Keys with the same text between their first ``{`` and the next ``}`` are kept in one
    place: what changes in one step there has such keys. A driver of such a store has a method
    ``part_of(key)``, which names the part that the place of *key* belongs to, and stays the same
    wherever that is: an *epoch* is that of the key's part, under :func:`epoch_key`. And it has a
    method ``check_whole()``, which raises ``SharedUnavailable`` while one of its places is away.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the value under *key*, or ``None`` when there is none or it has expired."""

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return one value or ``None`` per key, in the order of *keys*."""

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Store *value* under *key*, for *ttl* seconds."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """Store *items*, values by key, each for *ttl* seconds."""

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        """Store each of *items*, values by key, whose key holds nothing, for *ttl* seconds.

        Returns:
            What each key holds now, in the order of *items*: the value that was given, or the one
            that was there. Each key is looked at and set in one step.
        """

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove *keys* and return how many of them existed."""

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """Store *value* if *key* holds *expected*, where ``None`` means nothing.

        It is kept for *ttl* seconds, or until it is replaced.

        Returns:
            Whether it was stored.
        """

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        limit: int | None = None,
        ttl: float | None = None,
        epoch: int | None = None,
        witness: Witness | None = None,
    ) -> Count:
        """Add *amount* to the counter at *key*, created at 0, unless it would pass *limit*.

        *ttl*, in seconds, is set when the counter is created and not renewed. A negative amount
        gives some back. With an *epoch*, the amount is added only if the counter at
        :func:`epoch_key` of the key's part has that value; with a *witness*, only if its counter
        holds no less than the witness knows, and 1 is added to that, which is kept for
        :data:`WITNESS_TTL` seconds from then on. All of it is one step; the key of a witness has
        the same text in braces as *key*.

        Raises:
            EpochChanged: The store is in another epoch than *epoch*, knows less than *witness*, or
                was opened again since this was asked.
        """

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """Return a lease on *key* for *ttl* seconds, or ``None`` while another holder has it."""

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """Acquire *key* for *ttl* seconds as :meth:`acquire` does, then read the key *wanted*.

        So a process that is granted the lease sees what the holder before it has stored. A driver
        whose store cannot do both at once uses :func:`~argo_mw.store.acquire_then_get`.
        """

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        """Return the value under *key*; if there is none, do as :meth:`acquire_and_get`.

        That is asked for *lease*, for *ttl* seconds, and *wanted*. Where all are in one place, it
        is one round trip, and where the store can do it, one step. Other drivers use
        :func:`~argo_mw.store.get_then_acquire`: a value may be stored in between, so what is kept
        under *wanted* has to tell.

        Returns:
            The value, the lease, and what *wanted* holds; the last two are ``None`` beside a value.
        """

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """Hold *lease* for another *ttl* seconds; return false when it is no longer held."""

    async def release(self, lease: Lease) -> bool:
        """Give *lease* up early; return false when it is no longer held."""

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """Store *value* at *key* unless a newer holder than *lease* has stored a value there.

        It is kept for *ttl* seconds, or until it is replaced.

        Returns:
            Whether it was stored.
        """

    async def settle(
        self,
        lease: Lease,
        key: str,
        value: bytes,
        *,
        ttl: float | None,
        channel: str,
        message: bytes,
        also: Write | None = None,
    ) -> bool:
        """Store *value* at *key* as :meth:`set_fenced` does, then release *lease*.

        The value is kept for *ttl* seconds, or until it is replaced. *also* is stored beside it,
        whatever its fence, as :meth:`set` does. Then *message* is sent on *channel*; a driver may
        leave that out if it knows that the lease was refused to nobody. All of it is carried out
        even if the caller has left. A driver whose store cannot do it at once uses
        :func:`~argo_mw.store.settle_in_steps`.

        Returns:
            Whether *value* was stored.

        Raises:
            SharedUnavailable: Some of it was not done.
        """

    async def publish(self, channel: str, message: bytes) -> None:
        """Send *message* to the present listeners on *channel*, in every instance."""

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> Subscription:
        """Call *on_message* for each message on *channel* from now on.

        All callbacks run on the event loop and must not block. *on_lost* is called with the reason
        as soon as messages do not arrive any more; *on_gap* whenever messages may have been missed,
        and arrive again: a connection was made again, a buffer was full.
        """

    async def scan(self, prefix: str) -> Sequence[str]:
        """Return the live keys that begin with *prefix*, in any order: for administration only."""

    async def aclose(self) -> None:
        """Release connections and files. Idempotent."""


def part_of(shared: Shared, key: str) -> str:
    """Return the name of the part of *shared* that *key* belongs to, "" where it has no parts."""
    named: Callable[[str], str] | None = getattr(shared, "part_of", None)
    return "" if named is None else named(key)
