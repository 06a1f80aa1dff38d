"""Which node of a cluster has which slots, as reported by one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen
from redis.exceptions import InvalidResponse, ResponseError

from argo_mw_redis.servers import Address


@frozen
class Shard:
    """A master, and a range of slots that are its own.

    Attributes:
        first: The first slot.
        last: The last one.
        master: The name of the master.
        address: Where it is.
    """

    first: int
    last: int
    master: str
    address: Address

    @property
    def slots(self) -> range:
        """The slots."""
        return range(self.first, self.last + 1)


@frozen
class Topology:
    """The masters of a cluster.

    Attributes:
        shards: Their slots.
    """

    shards: tuple[Shard, ...]

    @property
    def masters(self) -> dict[str, Address]:
        """Where each master is, by its name."""
        return {shard.master: shard.address for shard in self.shards}

    @property
    def addresses(self) -> frozenset[Address]:
        """Where the masters are."""
        return frozenset(self.masters.values())

    def owners(self) -> Iterator[tuple[int, Shard]]:
        """Yield each slot that has a master, with its shard."""
        for shard in self.shards:
            for slot in shard.slots:
                yield slot, shard

    def fell_to_another(self, before: Topology) -> bool:
        """Return whether a slot has another master because its master *before* is gone.

        Slots that are moved between masters do not count: their contents move along.
        """
        masters = self.masters
        gone = {shard.master for shard in before.shards} - masters.keys()
        if not gone:
            return False
        had = {slot for slot, shard in before.owners() if shard.master in gone}
        return any(slot in had for slot, _ in self.owners())


def read_topology(reply: Any, asked: Address) -> Topology:
    """Return what the node at *asked* answers to ``CLUSTER SLOTS``.

    Raises:
        redis.exceptions.InvalidResponse: It is something else.
    """
    if isinstance(reply, ResponseError):
        return Topology(())  # not used: the error is raised
    try:
        shards = [_shard(one, asked) for one in reply]
    except (TypeError, ValueError, IndexError, AttributeError):
        msg = "the slots of a cluster were expected"
        raise InvalidResponse(msg) from None
    return Topology(tuple(sorted(shards, key=lambda shard: shard.first)))


def _shard(entry: Any, asked: Address) -> Shard:
    first, last, master, *_ = entry
    host, port, name = master[:3]
    # A node that does not know its own address omits it: use the address that was asked.
    known = (host or b"").decode().strip("?") or asked[0]
    return Shard(int(first), int(last), name.decode(), (known, int(port)))


def read_epoch(reply: Any) -> int:
    """Return the newest configuration in a node's ``CLUSTER INFO``, or -1."""
    if isinstance(reply, bytes):
        for line in reply.decode(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "cluster_current_epoch" and value.isdecimal():
                return int(value)
    return -1
