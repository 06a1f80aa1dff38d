"""The nodes of a cluster: which one has which slots, and what happens when that changes.

Every second, and whenever something went wrong, one task asks the node with the newest
configuration which masters there are. A new topology is used once its masters were connected to,
and after ``on_loss`` was called if one of them may have missed the last writes, as a replica that
became a master may have. The same holds for a node that was reached again: it may have restarted
empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from typing import Final

from redis.exceptions import ResponseError

from argo_mw.plugin import Clock, Log, SharedUnavailable
from argo_mw_redis.batch import Command
from argo_mw_redis.keys import SLOTS
from argo_mw_redis.node import Node
from argo_mw_redis.servers import Address, ClusterServers, Options
from argo_mw_redis.topology import Topology, read_epoch, read_topology

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the topology while all nodes can be reached."""
_NAMED: Final = 5
"""The most unreachable nodes that a message names."""
_KEPT: Final = 10.0
"""Seconds for which a node without slots is kept after it was used."""

log = Log("argo_mw")


def _not_redirected(command: Command, reply: ResponseError, node: Node) -> bool:
    return False


def _nothing() -> None:
    return None


class Nodes:
    """Knows the masters of a cluster.

    Args:
        servers: Makes connections.
        options: Timeouts and bounds.
        clock: Measures timeouts, and paces the looks.

    Attributes:
        topology: The slots of each master; ``None`` before they are known.
        slots: The node of each slot, by its number.
        openings: How often a node was reached, or its slots were taken over.
        takeovers: How often slots were taken over, or an unreachable node was reached again.
        on_loss: Called when a node may have lost something, before it is read.
        redirected: See :class:`argo_mw_redis.node.Cluster`.
    """

    def __init__(self, servers: ClusterServers, options: Options, clock: Clock) -> None:
        self.topology: Topology | None = None
        self.slots: list[Node | None] = [None] * SLOTS
        self.openings = 0
        self.takeovers = 0
        self.on_loss: Callable[[], None] = _nothing
        self.redirected: Callable[[Command, ResponseError, Node], bool] = _not_redirected
        self._servers = servers
        self._options = options
        self._clock = clock
        self._nodes: dict[Address, Node] = {}
        self._lost: set[Node] = set()
        self._refused = ""
        self._asked: asyncio.Future[None] | None = None
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._closing = False

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find the masters, or begin to try."""
        await self._look()
        # Not in the context of the caller that opens the store, which it outlives.
        self._watching = asyncio.create_task(
            self._watch(), name="argo-mw:redis-nodes", context=Context()
        )

    async def aclose(self) -> None:
        """Stop looking, and close all connections."""
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await asyncio.gather(*self._leaving, *(node.aclose() for node in self.all))

    # -- what is known -----------------------------------------------------------------------

    @property
    def all(self) -> list[Node]:
        """All nodes that it keeps connections to, masters or not."""
        return [*self._nodes.values()]

    @property
    def masters(self) -> list[Node]:
        """The masters."""
        known = () if self.topology is None else sorted(self.topology.addresses)
        return [self.at(address) for address in known]

    @property
    def unreachable(self) -> str | None:
        """Why a part of the cluster cannot be reached, or ``None`` while all can."""
        if self.topology is None:
            return self._refused or _away(self.all) or "not connected yet"
        away = _away(self.masters)
        if away:
            return away
        left = SLOTS - sum(len(shard.slots) for shard in self.topology.shards)
        return f"{left} of its slots have no master: bring their nodes back" if left else None

    def at(self, address: Address) -> Node:
        """Return the node at *address*, which may not be connected yet."""
        node = self._nodes.get(address)
        if node is None:
            server, in_url = self._servers.at(address), address in self._servers.start
            node = self._nodes[address] = Node(
                address, server, self._options, self._clock, self, in_url=in_url
            )
        return node

    async def refreshed(self) -> None:
        """Return once the topology was looked up again, successfully or not."""
        if self._closing:
            return
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
        self._news.set()
        await asyncio.shield(self._asked)

    # -- what nodes say ----------------------------------------------------------------------

    def opened(self, node: Node) -> None:
        """Note that *node* was reached; called before anything is sent to it."""
        self.openings += 1
        if node in self._lost:
            self._lost.discard(node)
            self.takeovers += 1
        if node.openings > 1:
            self._lose(f"the connection to {_name(node.address)} was made again")

    def lost(self, node: Node) -> None:
        """Note that *node* is unreachable from now on."""
        self._lost.add(node)
        self._news.set()

    def _lose(self, why: str) -> None:
        log.info("a node of the redis cluster may have lost its last writes", why=why)
        self.on_loss()

    # -- looking -----------------------------------------------------------------------------

    async def _watch(self) -> None:
        asked: asyncio.Future[None] | None = None
        try:
            while True:
                await self._pause(self._options.retry_interval if self.unreachable else _LOOK_EVERY)
                asked, self._asked = self._asked, None
                try:
                    await self._look()
                except Exception:  # a nonsensical reply of a node must not end this task
                    log.exception("the masters of the redis cluster could not be found")
                _answer(asked)
        finally:
            self._closing = True
            _answer(asked)
            _answer(self._asked)

    async def _pause(self, seconds: float) -> None:
        """Wait for *seconds*, or until something goes wrong."""
        timer = self._clock.call_at(self._clock.monotonic() + seconds, self._news.set)
        try:
            await self._news.wait()
        finally:
            timer.cancel()
        self._news.clear()

    async def _look(self) -> None:
        topology = await self._newest(await self._reachable())
        if topology is not None:
            await self._adopt(topology)

    async def _reachable(self) -> list[Node]:
        """Return the nodes that can be reached; if there are none, try those of the URL."""
        found = [node for node in self.all if node.unreachable is None]
        if found:
            return found
        start = [self.at(address) for address in self._servers.start]
        trying = {asyncio.create_task(node.ready()) for node in start}
        while trying and all(node.unreachable for node in start):
            _, trying = await asyncio.wait(trying, return_when=asyncio.FIRST_COMPLETED)
        for task in trying:
            task.cancel()
        return [node for node in self.all if node.unreachable is None]

    async def _newest(self, nodes: Iterable[Node]) -> Topology | None:
        """Return the topology from the one of *nodes* that knows the newest configuration."""
        asked = [(node, asyncio.ensure_future(_epoch_of(node))) for node in nodes]
        ranked = [(await epoch, node) for node, epoch in asked]
        for epoch, node in sorted(ranked, key=_rank, reverse=True):
            if epoch is None:
                continue
            try:
                topology = await node.send(
                    ("CLUSTER", "SLOTS"), partial(read_topology, asked=node.address)
                )
            except SharedUnavailable as error:
                if node.unreachable is None:
                    self._refused = str(error).removeprefix("Redis ")
            else:
                return topology
        return None

    async def _adopt(self, topology: Topology) -> None:
        """Use *topology* from now on, after trying to connect to its masters."""
        addresses, before = topology.addresses, self.topology
        await asyncio.gather(*(self.at(address).ready() for address in addresses))
        if topology != before:
            if before is not None and topology.fell_to_another(before):
                self.openings += 1
                self.takeovers += 1
                self._lose("another node has taken over its slots")
            slots: list[Node | None] = [None] * SLOTS
            for shard in topology.shards:
                slots[shard.first : shard.last + 1] = [self.at(shard.address)] * len(shard.slots)
            self.slots, self.topology = slots, topology
        since = self._clock.monotonic() - _KEPT
        for node in self.all:
            if node.address not in addresses and node.used < since:
                self._leave(node)

    def _leave(self, node: Node) -> None:
        del self._nodes[node.address]
        self._lost.discard(node)
        task = asyncio.create_task(node.aclose(), name="argo-mw:redis-node-closes")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def _answer(asked: asyncio.Future[None] | None) -> None:
    if asked is not None and not asked.done():
        asked.set_result(None)


async def _epoch_of(node: Node) -> int | None:
    """Return the newest configuration that *node* knows; ``None`` if it does not answer."""
    try:
        return await node.send(("CLUSTER", "INFO"), read_epoch)
    except SharedUnavailable:
        return None if node.unreachable else -1


def _rank(pair: tuple[int | None, Node]) -> int:
    return -2 if pair[0] is None else pair[0]


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _away(nodes: Iterable[Node]) -> str:
    """Return which of *nodes* cannot be reached, and why; if many, the first few."""
    away = [
        f"its node {_name(node.address)}: {node.unreachable}" for node in nodes if node.unreachable
    ]
    more = f"; and {len(away) - _NAMED} more of its nodes" if len(away) > _NAMED else ""
    return "; ".join(away[:_NAMED]) + more
