"""The names of a store's keys and channels on Redis.

On a cluster, the slot of a key is computed from the text in its first braces, or from all of it.
What belongs to a key, such as the fence that it was written with, has the whole key in braces, and
so the same slot.
"""

from __future__ import annotations

from binascii import crc_hqx
from hashlib import blake2b
from typing import Final

from attrs import frozen

from argo_mw.store import EPOCH_KEY, epoch_key

SLOTS: Final = 16_384
"""The number of slots of a cluster."""
LAST_SLOT: Final = SLOTS - 1
"""The last slot, also a mask: SLOTS is a power of two, so ``n & LAST_SLOT`` is ``n % SLOTS``."""


@frozen
class Keys:
    """The names on one server.

    ``PREFIXv:KEY`` holds a value or a counter, ``PREFIXl:KEY`` a lease, ``PREFIXw:KEY`` a note that
    another process wants that lease, ``PREFIXf:KEY`` the fence that a value was written with,
    ``PREFIXfence`` the newest fence of all.

    Attributes:
        prefix: The beginning of every name.
    """

    prefix: str

    @property
    def fences_last(self) -> int | str:
        """The milliseconds after which a newest fence may be forgotten; "" for never."""
        return ""

    def value(self, key: str) -> str:
        """Return the name under which the value or the counter at *key* is kept."""
        return f"{self.prefix}v:{key}"

    def lease(self, key: str) -> str:
        """Return the name under which the lease on *key* is kept."""
        return f"{self.prefix}l:{key}"

    def newest_fence(self, key: str) -> str:
        """Return the name of the newest fence of leases on *key*."""
        return f"{self.prefix}fence"

    def wish(self, key: str) -> str:
        """Return the name of the note that the lease on *key* was refused to somebody."""
        return f"{self.prefix}w:{key}"

    def fence(self, key: str) -> str:
        """Return the name of the fence that the value at *key* was written with."""
        return f"{self.prefix}f:{key}"

    def epoch(self, key: str) -> str:
        """Return the name of the epoch in which the counter at *key* is."""
        return self.value(EPOCH_KEY)

    def channel(self, name: str) -> str:
        """Return the name of the channel *name* on the server."""
        return self.prefix + name


@frozen
class ClusterKeys(Keys):
    """The names on a cluster: keys that change atomically together share a slot."""

    @property
    def fences_last(self) -> int | str:
        """The milliseconds after which a newest fence may be forgotten, since there are many."""
        return 86_400_000

    def value(self, key: str) -> str:
        """Return the name under which the value or the counter at *key* is kept."""
        return self._placed("v", key)

    def lease(self, key: str) -> str:
        """Return the name under which the lease on *key* is kept."""
        return self._placed("l", key)

    def newest_fence(self, key: str) -> str:
        """Return the name of the newest fence of leases on *key*: each slot text has its own."""
        return f"{self.prefix}fence:{{{tag_of(self.lease(key))}}}"

    def wish(self, key: str) -> str:
        """Return the name of the note that the lease on *key* was refused to somebody."""
        return f"{self.prefix}w:{{{tag_of(self.lease(key))}}}:{key}"

    def fence(self, key: str) -> str:
        """Return the name of the fence that the value at *key* was written with."""
        return f"{self.prefix}f:{{{tag_of(self.value(key))}}}:{key}"

    def epoch(self, key: str) -> str:
        """Return the name of the epoch in which the counter at *key* is."""
        return self.value(epoch_key(self.part_of(key)))

    def channel(self, name: str) -> str:
        """Return the name of the channel *name*: all have one slot, and so one connection."""
        return f"{self.prefix}{{messages}}:{name}"

    def part_of(self, key: str) -> str:
        """Return the text that decides the slot of the value at *key*."""
        return tag_of(self.value(key))

    def _placed(self, kind: str, key: str) -> str:
        name = f"{self.prefix}{kind}:{key}"
        if "}" not in key or tag_of(name) != name:
            return name
        # A key with a brace cannot be put in braces: the text would end at its own brace.
        digest = blake2b(key.encode(), digest_size=8).hexdigest()
        return f"{self.prefix}{kind}:{{{digest}}}\0{key}"

    def key_of(self, name: str) -> str:
        """Return the key whose value is kept under *name*."""
        rest = name[len(self.prefix) + 2 :]
        digest, end, key = rest.partition("}\0")
        return key if end and len(digest) == 17 and digest[0] == "{" else rest


def tag_of(name: str) -> str:
    """Return the part of *name* that decides its slot: what is in its first braces, else all."""
    start = name.find("{")
    if start < 0:
        return name
    end = name.find("}", start + 1)
    return name[start + 1 : end] if end > start + 1 else name


def slot_of(name: str) -> int:
    """Return the slot of a cluster in which *name* lives."""
    return crc_hqx((tag_of(name) if "{" in name else name).encode(), 0) & LAST_SLOT
