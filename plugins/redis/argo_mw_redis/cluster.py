"""Shared on a Redis cluster: the same commands, each on the node of its key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from argo_mw.plugin import Clock, SystemClock
from argo_mw.store import (
    Lease,
    Write,
    acquire_then_get,
    check_key,
    check_keys,
    check_value,
    get_then_acquire,
    settle_in_steps,
)
from argo_mw_redis.driver import RedisShared, literal, milliseconds, report
from argo_mw_redis.keys import ClusterKeys, slot_of
from argo_mw_redis.pubsub import OF_A_SLOT, PubSub, RedisSubscription, seal
from argo_mw_redis.replies import expect_integer, read_page, read_text
from argo_mw_redis.router import Router
from argo_mw_redis.scripts import SET_FENCED, SETTLE
from argo_mw_redis.servers import parse_cluster

_WANTED: Final = 2
"""What a script adds to its answer if another process waits for the lease that it released."""


async def open_cluster(url: str, clock: Clock | None = None) -> ClusterShared:
    """Open the store on the cluster at *url*, which may be unreachable now.

    ``redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT``, ``rediss+cluster://`` over TLS: some of
    its nodes, which know the others. The query may hold the fields of
    :class:`~argo_mw_redis.servers.Options`, and of redis-py's own options those of the login and
    of TLS. *clock* measures timeouts and paces the attempts to reach it again.

    Raises:
        ConfigError: The URL is wrong.
    """
    servers, options = parse_cluster(url)
    clock = clock if clock is not None else SystemClock()
    router, keys = Router(servers, options, clock), ClusterKeys(options.prefix)
    channels = _ChannelServer(router, keys.channel(""))
    pubsub = PubSub(channels, options, clock, words=OF_A_SLOT, keys=keys)
    router.nodes.on_loss = pubsub.missed
    shared = ClusterShared(router, pubsub, keys, clock)
    await shared.start()
    return shared


@frozen
class _ChannelServer:
    """The node that has the slot of all channels, whichever it is at the time."""

    _router: Router
    _name: str

    async def connect(self) -> AbstractConnection:
        return await self._router.connect_to(self._name)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


class ClusterShared(RedisShared):
    """Implements :class:`argo_mw.store.Shared`; made by :func:`open_cluster`.

    An operation on several keys fails if the node of one of them is unreachable; the other nodes
    carry out their part of it. Checking a lease and storing the value that it guards is atomic if
    both keys have the same text in braces; otherwise the lease is checked first.
    """

    _batcher: Router
    _keys: ClusterKeys

    @property
    def router(self) -> Router:
        """The router of the commands."""
        return self._batcher

    @property
    def takeovers(self) -> int:
        """How often some keys moved to a copy that may lack the last writes, such as a new master.

        Each time, what a process has counted is added again if the copy lacks it.
        """
        return self._batcher.nodes.takeovers

    def part_of(self, key: str) -> str:
        """Return the text that decides the slot of *key*, as the name of its part of the store."""
        return self._keys.part_of(key)

    def check_whole(self) -> None:
        """Return if all of the cluster can be reached.

        Raises:
            SharedUnavailable: A part of it cannot.
        """
        self._batcher.check_reachable()

    async def get(self, key: str) -> bytes | None:
        """See :meth:`argo_mw.store.Shared.get`."""
        check_key(key)
        self._check_usable()
        # The hottest path: without a brace in the key, its name needs no further rule.
        return await self._batcher.get(self._keys.value(key) if "}" in key else self._values + key)

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See :meth:`argo_mw.store.Shared.get_many`."""
        check_keys(keys)
        self._check_usable()
        sent = [self._batcher.get(self._keys.value(key)) for key in keys]
        return [await done for done in sent]

    async def delete(self, keys: Sequence[str]) -> int:
        """See :meth:`argo_mw.store.Shared.delete`."""
        check_keys(keys)
        self._check_usable()
        sent = [self._batcher.send(("DEL", self._keys.value(key)), expect_integer) for key in keys]
        return sum([await done for done in sent])

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """See :meth:`argo_mw.store.Shared.acquire_and_get`."""
        if self._is_beside(key, wanted):
            return await super().acquire_and_get(key, wanted, ttl=ttl)
        return await acquire_then_get(self, key, wanted, ttl=ttl)

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        """See :meth:`argo_mw.store.Shared.get_or_acquire`."""
        if self._is_beside(lease, wanted) and self._is_beside(lease, key):
            return await super().get_or_acquire(key, lease, wanted, ttl=ttl)
        check_keys([lease, wanted])
        return await get_then_acquire(self, key, lease, wanted, ttl=ttl)

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.store.Shared.set_fenced`."""
        if self._is_beside(lease.key, key):
            return await super().set_fenced(key, value, lease, ttl=ttl)
        check_key(key)
        check_value(key, value)
        self._check_usable()
        names = self._keys
        held = await self._batcher.get(names.lease(lease.key))
        if held is not None and int(held.partition(b":")[0]) > lease.fence:
            return False
        keys = [names.value(key), names.fence(key), names.fence(key)]
        return bool(await self._run(SET_FENCED, keys, (value, lease.fence, milliseconds(ttl))))

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
        """See :meth:`argo_mw.store.Shared.settle`."""
        check_key(channel)
        check_value(channel, message)
        places = (key,) if also is None else (key, also.key)
        if not all(self._is_beside(lease.key, place) for place in places):
            return await settle_in_steps(
                self, lease, key, value, ttl=ttl, channel=channel, message=message, also=also
            )
        words = ("SPUBLISH", self._keys.channel(channel), seal(message))

        def read(reply: Any) -> tuple[bool, asyncio.Future[int] | None]:
            answer = expect_integer(reply)
            if isinstance(reply, ResponseError) or answer < _WANTED:
                return answer == 1, None
            # Sent here, so that it is sent even if the caller has left.
            return answer > _WANTED, self._batcher.send(words, expect_integer, must=True)

        settlement = self._settlement(lease, Write(key, value, ttl), ("", ""), also)
        stored, sent = await self._run(
            SETTLE, *settlement, read, must=True, late=lambda answer: None
        )
        if sent is not None:
            await sent
        return bool(stored)

    def _is_beside(self, lease_key: str, key: str) -> bool:
        """Return whether the lease on *lease_key* and the value at *key* are in one slot."""
        return slot_of(self._keys.lease(lease_key)) == slot_of(self._keys.value(key))

    async def publish(self, channel: str, message: bytes) -> None:
        """See :meth:`argo_mw.store.Shared.publish`."""
        check_key(channel)
        check_value(channel, message)
        self._check_usable()
        await self._send(
            "SPUBLISH", self._keys.channel(channel), seal(message), read=expect_integer
        )

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> RedisSubscription:
        """See :meth:`argo_mw.store.Shared.subscribe`."""
        check_key(channel)
        self._check_usable()
        return await self._pubsub.subscribe(channel, on_message, on_gap, on_lost)

    async def scan(self, prefix: str) -> Sequence[str]:
        """See :meth:`argo_mw.store.Shared.scan`; keys that are moved meanwhile may be missing."""
        self._check_usable()
        self._batcher.check_reachable()
        found: dict[str, None] = {}
        # Keys whose braces cannot be used are stored behind a digest in braces.
        for pattern in (
            literal(self._values + prefix),
            literal(self._values) + "{*}\0" + literal(prefix),
        ):
            for node in self._batcher.nodes.masters:
                cursor = b"0"
                while True:
                    words = ("SCAN", cursor, "MATCH", pattern + "*", "COUNT", "1000")
                    cursor, names = await node.send(words, read_page)
                    found.update((self._keys.key_of(name.decode()), None) for name in names)
                    if cursor == b"0":
                        break
        return [key for key in found if key.startswith(prefix)]

    async def infos(self) -> Mapping[str, dict[str, str]]:
        """Return each master's report about itself (``INFO``), by its address."""
        self._check_usable()
        self._batcher.check_reachable()
        sent: list[tuple[str, Any]] = [
            (f"{node.address[0]}:{node.address[1]}", node.send(("INFO",), read_text))
            for node in self._batcher.nodes.masters
        ]
        return {name: report(await done) for name, done in sent}
