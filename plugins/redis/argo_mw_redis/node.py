"""One node of a cluster: a batcher that sends gets one by one, and handles redirections.

The keys of a batch have many slots, and a node answers an ``MGET`` only for keys of one slot. So
each get is a command of its own, packed and read with as little work as an item of an ``MGET``.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from argo_mw.plugin import Clock
from argo_mw_redis.batch import Batch, Command, pack
from argo_mw_redis.batcher import Batcher
from argo_mw_redis.refusals import ANNOUNCED, unreachable
from argo_mw_redis.replies import expect_value, settle
from argo_mw_redis.servers import Address, Options, Server
from argo_mw_redis.wire import Parse, Replies, next_reply

_ASKING: Final = pack(("ASKING",))


class Cluster(Protocol):
    """What a node reports to its cluster."""

    def redirected(self, command: Command, reply: ResponseError, node: Node) -> bool:
        """Return whether *command*, which was answered with *reply*, will be sent elsewhere."""

    def opened(self, node: Node) -> None:
        """Note that *node* was reached; called before anything is sent to it."""

    def lost(self, node: Node) -> None:
        """Note that *node* is unreachable from now on."""


class Node(Batcher):
    """Carries commands to one node.

    Args:
        address: Where it is.
        server: Makes connections to it.
        options: Timeouts and bounds.
        clock: Measures timeouts, and paces the attempts to reach it again.
        cluster: Called with redirections and outages.
        in_url: Whether it is named in the URL, or only by the cluster.

    Attributes:
        address: Where it is.
        used: When another node last redirected a command to it, in monotonic seconds.
    """

    def __init__(
        self,
        address: Address,
        server: Server,
        options: Options,
        clock: Clock,
        cluster: Cluster,
        *,
        in_url: bool,
    ) -> None:
        super().__init__(server, options, clock)
        self.address = address
        self.used = clock.monotonic()
        self._cluster = cluster
        self._in_url = in_url
        self._started: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Return once the first attempt to connect has ended, successful or not."""
        if self._started is None:
            self._started = asyncio.create_task(self.start(), name="argo-mw:redis-node")
        await asyncio.shield(self._started)

    def put(self, command: Command) -> None:
        """Send *command*, which another node has redirected, with this turn's batch.

        Raises:
            SharedUnavailable: The node is unreachable.
        """
        self.check_reachable()
        self.used = self._clock.monotonic()
        self._outbox.commands.append(command)
        if not self._scheduled:
            self._schedule()

    async def aclose(self) -> None:
        """Finish what is under way, then close the connections."""
        if self._started is not None:
            await asyncio.wait([self._started])
        await super().aclose()

    def _schedule(self) -> None:
        # One turn later than on a single server: in between, replies of other nodes are read, and
        # the next commands of their callers join the batch. Otherwise batches are half as large.
        self._scheduled = True
        self._loop.call_soon(self._loop.call_soon, self._flush)

    def _go_on(self) -> None:
        if not self._scheduled:
            self._schedule()

    def _reason(self, error: Exception) -> str:
        if self._in_url:
            return super()._reason(error)
        options = self._options
        return unreachable(error, prefix=options.prefix, escaped=options.escaped, remedy=ANNOUNCED)

    def _opened(self) -> None:
        super()._opened()
        self._cluster.opened(self)

    def _on_lost(self, batch: Batch, error: Exception) -> None:
        super()._on_lost(batch, error)
        self._cluster.lost(self)

    def _packed(self, batch: Batch) -> list[bytes]:
        return _packed(batch)

    def _replies(self, parse: Parse, batch: Batch) -> Replies:
        for name, done in batch.gets:
            reply = parse()
            if reply is NOT_ENOUGH_DATA:
                reply = yield from next_reply(parse)
            if type(reply) is not bytes and reply is not None:
                self._settle(_command(name, done), reply)
            elif not done.done():
                done.set_result(reply)
        for command in batch.commands:
            if command.asking:
                yield from next_reply(parse)
            self._settle(command, (yield from next_reply(parse)))

    def _settle(self, command: Command, reply: Any) -> None:
        if isinstance(reply, RedisConnectionError):  # such as LOADING
            raise reply
        if isinstance(reply, NoScriptError) and command.script is not None:
            self._send_with_script(command, command.script)
        elif not isinstance(reply, ResponseError) or not self._cluster.redirected(
            command, reply, self
        ):
            settle(command, reply, self._options.prefix)


def _command(name: str | bytes, done: asyncio.Future[bytes | None]) -> Command:
    key = name.decode() if isinstance(name, bytes) else name
    return Command(("GET", key), expect_value, done)


class _Heads(dict[int, bytes]):
    """The bytes before a key in a packed ``GET``, by the key's length, with the line end before."""

    def __missing__(self, length: int) -> bytes:
        head = self[length] = b"\r\n*2\r\n$3\r\nGET\r\n$%d\r\n" % length
        return head


_heads = _Heads()


def _packed(batch: Batch) -> list[bytes]:
    gets = cast("list[tuple[bytes, object]]", batch.gets)  # the router encodes them
    packed = [_heads[len(name)] + name for name, _ in gets]
    if packed:
        packed[0] = packed[0][2:]
        packed.append(b"\r\n")
    for command in batch.commands:
        if command.asking:
            packed.append(_ASKING)
        packed.append(pack(command.arguments))
    return packed
