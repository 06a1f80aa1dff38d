"""Publish and subscribe: one connection that only listens, and reports what it may have missed.

On a connection that was silent for a while, one channel is subscribed to again, which needs no
further rights; if that is not confirmed, the connection is replaced. Every subscription is notified
when the connection breaks, and of a gap once the server has confirmed all channels again.

Messages carry a checksum. One that arrives damaged, or on a channel without a subscription, may be
an invalidation with a damaged address, so the connection is replaced then too.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final

from attrs import define, field, frozen
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from argo_mw.plugin import Clock, Log, SharedUnavailable
from argo_mw_redis.keys import Keys
from argo_mw_redis.refusals import refusal, unreachable
from argo_mw_redis.servers import Options, Server

_CHECKSUM_BYTES: Final = 4
_SILENCE: Final = "silence"
"""The channel to subscribe to while there is no other subscription, so that the server answers."""


@frozen
class Words:
    """The protocol's words for one kind of channels.

    Attributes:
        subscribe: The command to subscribe.
        confirmed: The type of the reply that confirms it.
        message: The type of a message.
    """

    subscribe: str
    confirmed: bytes
    message: bytes


OF_A_SERVER: Final = Words("SUBSCRIBE", b"subscribe", b"message")
OF_A_SLOT: Final = Words("SSUBSCRIBE", b"ssubscribe", b"smessage")
"""Sharded channels, which live on the node that has their slot."""

log = Log("argo_mw")


def seal(message: bytes) -> bytes:
    """Return *message* as it is sent: behind its CRC-32."""
    return zlib.crc32(message).to_bytes(_CHECKSUM_BYTES) + message


def unseal(data: bytes) -> bytes:
    """Return the message in *data*.

    Raises:
        ValueError: It arrived damaged.
    """
    message = data[_CHECKSUM_BYTES:]
    if seal(message) != data:
        msg = "a message was damaged"
        raise ValueError(msg)
    return message


@define(eq=False)
class RedisSubscription:
    """A subscription to one channel.

    Attributes:
        channel: The name of the channel.
        on_message: Called with each message.
        on_gap: Called when messages may have been missed.
        on_lost: Called with the reason when messages stop arriving.
    """

    _pubsub: PubSub = field(repr=False)
    channel: str
    on_message: Callable[[bytes], None] = field(repr=False)
    on_gap: Callable[[], None] = field(repr=False)
    on_lost: Callable[[str], None] | None = field(repr=False)

    async def aclose(self) -> None:
        """End the subscription. Idempotent."""
        self._pubsub.unsubscribe(self)


class PubSub:
    """The listening connection and its subscriptions.

    Args:
        server: Makes connections.
        options: Timeouts, and the prefix of the channels' names.
        clock: Paces the attempts to reach a server that is unreachable.
        words: The protocol's words for its kind of channels.
        keys: The names of channels; by default those on a single server.
    """

    def __init__(
        self,
        server: Server,
        options: Options,
        clock: Clock,
        *,
        words: Words = OF_A_SERVER,
        keys: Keys | None = None,
    ) -> None:
        self._server = server
        self._words = words
        self._names = (keys if keys is not None else Keys(options.prefix)).channel("")
        self._options = options
        self._clock = clock
        self._subscriptions: dict[str, list[RedisSubscription]] = {}
        self._confirmed: dict[str, asyncio.Future[None]] = {}
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._closing = False
        self._lost = ""

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions."""
        return sum(map(len, self._subscriptions.values()))

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        on_lost: Callable[[str], None] | None = None,
    ) -> RedisSubscription:
        """Subscribe to *channel*; return once the server has confirmed it.

        Raises:
            SharedUnavailable: The server cannot be reached now.
        """
        subscription = RedisSubscription(self, channel, on_message, on_gap, on_lost)
        try:
            async with self._lock, asyncio.timeout(self._options.timeout * 2):
                await self._connect()
                if channel not in self._subscriptions:
                    await self._listen_to(channel)
        except Exception as error:  # redis-py raises anything for a nonsensical reply
            if not isinstance(error, ResponseError):  # of other channels messages arrive
                await self._disconnect()
            raise SharedUnavailable(self._reason(error)) from error
        self._subscriptions.setdefault(channel, []).append(subscription)
        return subscription

    def unsubscribe(self, subscription: RedisSubscription) -> None:
        """End *subscription*. The server keeps sending its channel, which costs little."""
        subscriptions = self._subscriptions.get(subscription.channel, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)

    async def aclose(self) -> None:
        """End all subscriptions, and close the connection."""
        self._closing = True
        self._subscriptions.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()

    # -- the connection ------------------------------------------------------------------

    async def _connect(self) -> None:
        if self._connection is not None:
            return
        if self._task is not None and not self._task.done():
            # A task is replacing the lost connection; a second connection would have no reader.
            msg = "the listening connection is being replaced"
            raise RedisConnectionError(msg)
        self._connection = await self._server.connect()
        # Not in the context of the call that subscribes first, which it outlives.
        self._task = asyncio.create_task(
            self._run(), name="argo-mw:redis-channel", context=Context()
        )

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _listen_to(self, channel: str) -> None:
        assert self._connection is not None
        confirmed = asyncio.get_running_loop().create_future()
        self._confirmed[channel] = confirmed
        try:
            await self._send_subscribe(self._connection, channel)
            await confirmed
        finally:
            del self._confirmed[channel]

    async def _run(self) -> None:
        """Handle messages; when the connection breaks, replace it."""
        while self._wants_connection():
            broken: Exception = ConnectionError("the connection broke")
            try:
                await self._receive()
            except Exception as error:  # taking apart a nonsensical reply raises anything
                broken = error
                log.info("the listening connection to redis broke", why=str(error))
            self._fail_confirmations(ConnectionError("the connection broke"))
            self._lose(self._reason(broken))
            await self._disconnect()
            while self._wants_connection() and (refused := await self._reconnect()) is not None:
                self._lose(refused)
                await self._clock.sleep(self._options.retry_interval)

    def _wants_connection(self) -> bool:
        return not self._closing

    async def _receive(self) -> None:
        silences = 0
        while (connection := self._connection) is not None:
            try:
                reply: Any = await connection.read_response(
                    disable_decoding=True, timeout=self._options.timeout
                )
            except ResponseError as error:
                reply = error
            silences = silences + 1 if reply is None else 0
            if silences > 1:
                msg = "it did not answer in time"
                raise TimeoutError(msg)
            if silences:
                await self._send_subscribe(connection, next(iter(self._subscriptions), _SILENCE))
            else:
                self._handle(reply)

    def _handle(self, reply: Any) -> None:
        if isinstance(reply, ResponseError):
            self._fail_confirmations(reply)  # the reply to a subscription of ours
            return
        kind, *rest = reply
        if kind == self._words.message:
            channel, message = rest
            self._deliver(channel.decode().removeprefix(self._names), unseal(message))
        elif kind == self._words.confirmed:
            waiting = self._confirmed.get(rest[0].decode().removeprefix(self._names))
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        else:
            msg = "the server sent something else than messages"
            raise ValueError(msg)

    def _deliver(self, channel: str, message: bytes) -> None:
        if channel not in self._subscriptions and channel not in self._confirmed:
            msg = "a message arrived on a channel without a subscription"
            raise ValueError(msg)
        for subscription in tuple(self._subscriptions.get(channel, ())):
            _call(partial(subscription.on_message, message))

    async def _reconnect(self) -> str | None:
        """Connect and subscribe again; notify all subscriptions of the gap.

        Returns:
            Why that failed, or ``None``.
        """
        async with self._lock:
            try:
                async with asyncio.timeout(self._options.timeout * 2):
                    self._connection = await self._server.connect()
                    for channel in self._subscriptions:
                        await self._send_subscribe(self._connection, channel)
                        while not _confirms(await self._connection.read_response(), self._words):
                            pass
            except Exception as error:
                await self._disconnect()
                return self._reason(error)
        self._lost = ""
        self.missed()
        return None

    def missed(self) -> None:
        """Notify all subscriptions of a gap, or again that no messages arrive, if that is so."""
        for subscriptions in tuple(self._subscriptions.values()):
            for subscription in tuple(subscriptions):
                _call(subscription.on_gap)
                if self._lost and subscription.on_lost is not None:
                    _call(partial(subscription.on_lost, self._lost))

    def _lose(self, why: str) -> None:
        """Notify all subscriptions that messages stop arriving, unless they were notified."""
        if why == self._lost or self._closing:
            return
        self._lost = why
        for subscriptions in tuple(self._subscriptions.values()):
            for subscription in tuple(subscriptions):
                if subscription.on_lost is not None:
                    _call(partial(subscription.on_lost, why))

    def _fail_confirmations(self, error: Exception) -> None:
        for waiting in self._confirmed.values():
            if not waiting.done():
                waiting.set_exception(error)

    async def _send_subscribe(self, connection: AbstractConnection, channel: str) -> None:
        await connection.send_command(
            self._words.subscribe, self._names + channel, check_health=False
        )

    def _reason(self, error: Exception) -> str:
        options = self._options
        if isinstance(error, ResponseError):
            return refusal(self._words.subscribe, error, options.prefix)
        why = unreachable(error, prefix=options.prefix, escaped=options.escaped)
        return f"Redis cannot be reached: {why}"


def _confirms(reply: object, words: Words) -> bool:
    """Return whether *reply* is the confirmation; a message before it is covered by the gap.

    Raises:
        ValueError: It is neither a confirmation nor a message.
    """
    if not isinstance(reply, list) or reply[0] not in (words.confirmed, words.message):
        msg = "the server did not confirm"
        raise ValueError(msg)
    return bool(reply[0] == words.confirmed)


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        log.exception("a callback of a subscription to the shared store failed")
