"""Publish and subscribe: one connection that only listens, and says when it may have missed some.

A connection that says nothing for a while is asked for a sign of life; when none comes, it is
made anew. Whenever it was made anew, every listener is told that there was a gap, after the
server has confirmed that it listens again.

A message that arrives damaged, or on a channel that nobody has asked for, may be an invalidation
that was meant for somebody: the connection is then made anew too. So messages carry a checksum.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define, field
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from argo_mw.plugin import Clock, Log, SharedUnavailable
from argo_mw_redis.servers import Options, Server

_CHECKSUM_BYTES: Final = 4

log = Log("argo_mw")


def sealed(message: bytes) -> bytes:
    """*message* as it travels: its CRC-32 first."""
    return zlib.crc32(message).to_bytes(_CHECKSUM_BYTES) + message


def opened(data: bytes) -> bytes:
    """The message in *data*.

    Raises:
        ValueError: It is not what was sent.
    """
    message = data[_CHECKSUM_BYTES:]
    if sealed(message) != data:
        msg = "a message was damaged"
        raise ValueError(msg)
    return message


@define(eq=False)
class RedisSubscription:
    """A listener on one channel."""

    _channel: Channel = field(repr=False)
    name: str
    on_message: Callable[[bytes], None] = field(repr=False)
    on_gap: Callable[[], None] = field(repr=False)

    async def aclose(self) -> None:
        """Stop listening. Idempotent."""
        self._channel.leave(self)


class Channel:
    """The listening connection and its listeners.

    Args:
        server: Where it leads.
        options: Timeouts, and the prefix of the channels' names.
        clock: Waits between attempts to reach a server that is away.
    """

    def __init__(self, server: Server, options: Options, clock: Clock) -> None:
        self._server = server
        self._options = options
        self._clock = clock
        self._listeners: dict[str, list[RedisSubscription]] = {}
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._closing = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    async def subscribe(
        self, name: str, on_message: Callable[[bytes], None], on_gap: Callable[[], None]
    ) -> RedisSubscription:
        """Listen to *name*, once the server has confirmed it.

        Raises:
            SharedUnavailable: The server cannot be reached now.
        """
        subscription = RedisSubscription(self, name, on_message, on_gap)
        try:
            async with self._lock, asyncio.timeout(self._options.timeout * 2):
                await self._connect()
                if name not in self._listeners:
                    await self._listen_to(name)
        except Exception as error:  # what nonsense makes redis-py raise
            await self._disconnect()
            msg = f"Redis cannot be reached: {str(error) or 'it did not answer in time'}"
            raise SharedUnavailable(msg) from error
        self._listeners.setdefault(name, []).append(subscription)
        return subscription

    def leave(self, subscription: RedisSubscription) -> None:
        """Forget *subscription*. The server goes on sending its channel, which costs little."""
        listeners = self._listeners.get(subscription.name, [])
        if subscription in listeners:
            listeners.remove(subscription)

    async def aclose(self) -> None:
        """Stop listening for good."""
        self._closing = True
        self._listeners.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()

    # -- the connection ------------------------------------------------------------------

    async def _connect(self) -> None:
        if self._connection is not None:
            return
        if self._task is not None and not self._task.done():
            # Another connection would be nobody's to hear: the one that was lost is being remade.
            msg = "the channel is being made anew"
            raise RedisConnectionError(msg)
        self._connection = await self._server.connect()
        self._task = asyncio.create_task(self._run(), name="argo-mw:redis-channel")

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _listen_to(self, name: str) -> None:
        assert self._connection is not None
        confirmed = asyncio.get_running_loop().create_future()
        self._confirmed[name] = confirmed
        try:
            await self._connection.send_command(
                "SUBSCRIBE", self._options.prefix + name, check_health=False
            )
            await confirmed
        finally:
            del self._confirmed[name]

    async def _run(self) -> None:
        """Hear what comes; when the connection breaks, make another."""
        while self._wants_connection():
            try:
                await self._hear()
            except Exception as error:  # what comes of taking apart a reply that is none
                log.info("redis channel broke", why=str(error))
            self._give_up_confirmations()
            await self._disconnect()
            while self._wants_connection() and not await self._again():
                await self._clock.sleep(self._options.retry)

    def _wants_connection(self) -> bool:
        return not self._closing

    async def _hear(self) -> None:
        silences = 0
        while (connection := self._connection) is not None:
            reply: Any = await connection.read_response(
                disable_decoding=True, timeout=self._options.timeout
            )
            silences = silences + 1 if reply is None else 0
            if silences > 1:
                msg = "no sign of life"
                raise TimeoutError(msg)
            if silences:
                await connection.send_command("PING", check_health=False)
            else:
                self._handle(reply)

    def _handle(self, reply: Any) -> None:
        kind, *rest = reply
        if kind == b"message":
            channel, message = rest
            self._deliver(channel.decode().removeprefix(self._options.prefix), opened(message))
        elif kind == b"subscribe":
            waiting = self._confirmed.get(rest[0].decode().removeprefix(self._options.prefix))
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        elif kind != b"pong":
            msg = "the server sent something else than messages"
            raise ValueError(msg)

    def _deliver(self, name: str, message: bytes) -> None:
        if name not in self._listeners and name not in self._confirmed:
            msg = "a message came on a channel that nobody listens to"
            raise ValueError(msg)
        for listener in tuple(self._listeners.get(name, ())):
            _call(partial(listener.on_message, message))

    async def _again(self) -> bool:
        """Connect and listen anew; tell everybody that something may have been missed."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._options.timeout * 2):
                    self._connection = await self._server.connect()
                    for name in self._listeners:
                        await self._connection.send_command(
                            "SUBSCRIBE", self._options.prefix + name, check_health=False
                        )
                        while not _confirms(await self._connection.read_response()):
                            pass
            except Exception:
                await self._disconnect()
                return False
        for listeners in tuple(self._listeners.values()):
            for listener in tuple(listeners):
                _call(listener.on_gap)
        return True

    def _give_up_confirmations(self) -> None:
        for waiting in self._confirmed.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the connection broke"))


def _confirms(reply: object) -> bool:
    """Whether *reply* is the confirmation; a message may come before it, and the gap covers that.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(reply, list) or reply[0] not in (b"subscribe", b"message"):
        msg = "the server did not confirm"
        raise ValueError(msg)
    return bool(reply[0] == b"subscribe")


def _call(listener: Callable[[], None]) -> None:
    try:
        listener()
    except Exception:
        log.exception("a listener of the shared store failed")
