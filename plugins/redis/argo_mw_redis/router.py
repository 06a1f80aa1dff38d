"""Commands to a cluster: each is sent to the node that has the slot of its key.

A command that is answered with ``MOVED`` waits for the next topology. It does not go to the address
in that answer, which may be of a replica that became a master: nothing is read from one before its
loss of writes was announced. A command that is answered with ``ASK`` goes to the address in the
answer, since moving a slot loses nothing.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, Final, TypeVar

from attrs import evolve
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from argo_mw.plugin import Clock, SharedUnavailable
from argo_mw_redis.batch import Argument, Command, fail
from argo_mw_redis.keys import LAST_SLOT, slot_of
from argo_mw_redis.node import Node
from argo_mw_redis.nodes import Nodes
from argo_mw_redis.scripts import Script
from argo_mw_redis.servers import ClusterServers, Options

T = TypeVar("T")

_PAUSE: Final = 0.01
"""Seconds until a command is sent again after a slot that is being moved was not ready."""
_PATIENCE: Final = 2.0
"""For how many timeouts a command is sent again."""


class Router:
    """Carries commands to a cluster; see :class:`argo_mw_redis.batch.Carrier`.

    Args:
        servers: Makes connections.
        options: Timeouts and bounds.
        clock: Measures timeouts.

    Attributes:
        nodes: The nodes.
    """

    def __init__(self, servers: ClusterServers, options: Options, clock: Clock) -> None:
        self.nodes = Nodes(servers, options, clock)
        self.nodes.redirected = self._redirected
        self._servers = servers
        self._options = options
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def unreachable(self) -> str | None:
        """Why a part of the cluster cannot be reached, or ``None`` while all can."""
        return self.nodes.unreachable

    @property
    def openings(self) -> int:
        """How often a node was reached, or had its slots taken over."""
        return self.nodes.openings

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return sum(node.connections for node in self.nodes.all)

    @property
    def busy(self) -> int:
        """The number of connections that carry a batch now."""
        return sum(node.busy for node in self.nodes.all)

    @property
    def max_connections(self) -> int:
        """The number of connections while all masters can be reached."""
        return self._options.connections * len(self.nodes.masters)

    @property
    def waiting(self) -> int:
        """The number of commands that wait for a connection."""
        return sum(node.waiting for node in self.nodes.all)

    async def start(self) -> None:
        """Find the masters; if that fails, go on trying in the background."""
        await self.nodes.start()

    async def drain(self) -> None:
        """Wait until all commands have been answered or have failed."""
        while self._running or self.waiting or self.busy:
            await asyncio.gather(*self._running, *(node.drain() for node in self.nodes.all))

    async def aclose(self) -> None:
        """Finish what is under way, then close the connections."""
        await self.drain()
        await self.nodes.aclose()

    def check_reachable(self) -> None:
        """Return if all of the cluster can be reached, as far as is known.

        Raises:
            SharedUnavailable: A part of it is unreachable.
        """
        if self.unreachable is not None:
            raise self._unavailable()

    def send(
        self,
        arguments: Sequence[Argument],
        read: Callable[[Any], T],
        *,
        script: Script | None = None,
        must: bool = False,
        late: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]:
        """Send a command to the node of its key; as ``Batcher.send``, but it never raises."""
        key = arguments[3 if script is not None else 1]
        node = self.nodes.slots[slot_of(str(key))]
        if node is None:
            return self._failed(self._unavailable())
        try:
            return node.send(arguments, read, script=script, must=must, late=late)
        except SharedUnavailable as error:
            return self._failed(error)

    def get(self, key: str) -> asyncio.Future[bytes | None]:
        """Get one value from the node of its key; never raises."""
        name = key.encode()
        # slot_of() written out, since this is the hottest path.
        node = self.nodes.slots[slot_of(key) if "{" in key else crc_hqx(name, 0) & LAST_SLOT]
        if node is None:
            return self._failed(self._unavailable())
        try:
            return node.get(name)
        except SharedUnavailable as error:
            return self._failed(error)

    async def connect_to(self, name: str) -> AbstractConnection:
        """Return a connection of its own to the node that has the slot of *name*.

        Raises:
            redis.exceptions.RedisError, OSError: It cannot be reached now.
        """
        await self.nodes.refreshed()
        node = self.nodes.slots[slot_of(name)]
        if node is None:
            raise RedisConnectionError(self.unreachable)
        return await self._servers.at(node.address).connect()

    def _unavailable(self) -> SharedUnavailable:
        msg = f"Redis cannot be reached: {self.unreachable or 'the slot has no master'}"
        return SharedUnavailable(msg)

    def _failed(self, error: Exception) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = self._loop.create_future()
        done.set_exception(error)
        done.exception()  # retrieved, since of several only the first may be awaited
        return done

    # -- redirections ------------------------------------------------------------------------

    def _redirected(self, command: Command, reply: ResponseError, node: Node) -> bool:
        """Return whether *command*, which *node* answered with *reply*, will be sent elsewhere."""
        if not isinstance(reply, AskError | TryAgainError):
            return False
        if command.done.done() and not command.must:
            return True  # its caller has left, and nothing was carried out
        now = self._clock.monotonic()
        if command.until is None:
            command = evolve(command, until=now + _PATIENCE * self._options.timeout)
            again = False
        elif now > command.until:
            fail([command.done], self._disagreement)
            return True
        else:
            again = True
        self._run(self._send_again(evolve(command, asking=False), reply, node, again))
        return True

    def _disagreement(self) -> SharedUnavailable:
        seconds = _PATIENCE * self._options.timeout
        msg = (
            f"Redis refused a command: for {seconds:g} s its nodes do not agree which of them has "
            "the slot; compare CLUSTER INFO of each"
        )
        return SharedUnavailable(msg)

    async def _send_again(
        self, command: Command, reply: ResponseError, node: Node, again: bool
    ) -> None:
        try:
            if again or isinstance(reply, TryAgainError):
                await self._clock.sleep(_PAUSE)
            if isinstance(reply, MovedError):
                await self.nodes.refreshed()
            if isinstance(reply, AskError) and not isinstance(reply, MovedError):
                target = self.nodes.at((reply.host or node.address[0], reply.port))
                await target.ready()
                target.put(evolve(command, asking=True))
                return
            owner = self.nodes.slots[slot_of(command.key)]
            if owner is None:
                raise self._unavailable()
            owner.put(command)
        except SharedUnavailable as error:
            refused = error
            fail([command.done], lambda: refused)
        except BaseException:
            fail([command.done], self._unavailable)
            raise

    def _run(self, code: Coroutine[object, object, None]) -> None:
        # Not in the context of a caller: commands of other callers may follow.
        task = self._loop.create_task(code, name="argo-mw:redis-redirect", context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
