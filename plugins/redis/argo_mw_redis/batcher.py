"""Commands asked in one turn of the event loop travel together.

Gets become one MGET, everything else is pipelined behind it. A few connections, called lanes,
carry one batch each at a time; while all are busy, the next batch grows. A caller owns nothing
but a future: leaving disturbs neither the others nor the connection.

When a lane fails, everything under way fails, and from then on every command fails at once, for
as long as the server is away: a background task, never a caller, finds out when it is back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, TypeVar, cast

import hiredis
from attrs import define
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from argo_mw import Clock, Log, SharedUnavailable
from argo_mw_redis.patience import patience
from argo_mw_redis.scripts import ALL, Script
from argo_mw_redis.servers import Options, Server

T = TypeVar("T")
Argument = str | bytes | int

_VALUES: Final = frozenset({bytes, type(None)})
_MOST_GETS: Final = 500
_BATCH: Final = 1_000
# The server is there but not the one to ask (now): look for it again.
_WRONG_SERVER: Final = (BusyLoadingError, ReadOnlyError, MasterDownError, ClusterDownError)

log = Log("argo_mw")


@define(eq=False)
class Command:
    """One command and who waits for its reply.

    Attributes:
        arguments: Its words.
        read: Turns the reply into the result; raises ``TypeError`` or ``ValueError`` when it is
            none.
        done: Receives the result.
        script: The script that it runs, if it runs one.
    """

    arguments: Sequence[Argument]
    read: Callable[[Any], object]
    done: asyncio.Future[Any]
    script: Script | None = None


@define(eq=False)
class Get:
    """Keys to be asked with those of others in one MGET, and who waits for their values.

    Attributes:
        keys: The keys.
        done: Receives their values; of a single key, its value.
        single: Whether it is a single key.
    """

    keys: Sequence[str]
    done: asyncio.Future[Any]
    single: bool


Batch = Sequence[Command | Get]


class Batcher:
    """Carries commands to a server.

    Args:
        server: Where connections lead.
        options: Timeouts and bounds.
        clock: Waits between attempts to reach a server that is away.
    """

    def __init__(self, server: Server, options: Options, clock: Clock) -> None:
        self._server = server
        self._options = options
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._outbox: list[Command | Get] = []
        self._scheduled = False
        self._idle: list[AbstractConnection] = []
        self._busy: dict[AbstractConnection, Batch] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._mending: asyncio.Task[None] | None = None
        self._away: str | None = "not connected yet"
        self._closing = False

    @property
    def away(self) -> str | None:
        """Why the server cannot be reached, or ``None`` while it can."""
        return self._away

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._idle) + len(self._busy)

    @property
    def busy(self) -> int:
        """How many connections carry a batch now."""
        return len(self._busy)

    @property
    def lanes(self) -> int:
        """How many connections there are while the server can be reached."""
        return self._options.lanes

    @property
    def waiting(self) -> int:
        """How many commands wait for a connection."""
        return len(self._outbox)

    async def start(self) -> None:
        """Connect; if that fails, go on trying in the background."""
        if not await self._reached():
            self._mend()

    async def aclose(self) -> None:
        """Finish what is under way, then let go of the connections."""
        self._closing = True
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        while self._outbox or self._running:
            self._flush()
            await asyncio.gather(*self._running, return_exceptions=True)
        self._away = "the store was closed"
        await self._drop_all()
        await self._server.aclose()

    # -- asking --------------------------------------------------------------------------

    def ask(
        self,
        arguments: Sequence[Argument],
        read: Callable[[Any], T],
        *,
        script: Script | None = None,
    ) -> asyncio.Future[T]:
        """Send a command with this turn's batch.

        Raises:
            SharedUnavailable: The server is away, or too many commands wait.
        """
        done: asyncio.Future[T] = self._loop.create_future()
        self._post(Command(arguments, read, done, script))
        return done

    def get(self, key: str) -> asyncio.Future[bytes | None]:
        """Get one value with this turn's batch; raises as :meth:`ask` does."""
        done: asyncio.Future[bytes | None] = self._loop.create_future()
        self._post(Get((key,), done, True))
        return done

    def get_many(self, keys: Sequence[str]) -> asyncio.Future[list[bytes | None]]:
        """Get values with this turn's batch; raises as :meth:`ask` does."""
        done: asyncio.Future[list[bytes | None]] = self._loop.create_future()
        self._post(Get(keys, done, False))
        return done

    def _post(self, command: Command | Get) -> None:
        if self._away is not None:
            raise self._unavailable()
        if len(self._outbox) >= self._options.most_waiting:
            msg = f"{len(self._outbox)} commands wait for Redis already"
            raise SharedUnavailable(msg)
        self._outbox.append(command)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _unavailable(self) -> SharedUnavailable:
        msg = f"Redis cannot be reached: {self._away}"
        return SharedUnavailable(msg)

    def _flush(self) -> None:
        self._scheduled = False
        while self._outbox and self._idle:
            batch, self._outbox = self._outbox[:_BATCH], self._outbox[_BATCH:]
            batch = [command for command in batch if not command.done.done()]
            if batch:
                lane = self._idle.pop()
                self._busy[lane] = batch
                task = self._loop.create_task(self._carry(lane, batch), name="argo-mw:redis-batch")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        if self._away is not None:
            self._fail(self._outbox)
            self._outbox = []

    # -- one batch on one lane -----------------------------------------------------------

    async def _carry(self, lane: AbstractConnection, batch: Batch) -> None:
        try:
            async with patience(self._options.timeout):
                await self._exchange(lane, batch)
        except (RedisError, OSError, TypeError, ValueError) as error:
            if self._busy.pop(lane, None) is not None:  # else it was dropped with all others
                await self._lost(lane, batch, error)
        except BaseException:
            self._busy.pop(lane, None)
            self._fail(batch)
            await lane.disconnect(nowait=True)
            raise
        else:
            if self._busy.pop(lane, None) is not None:
                self._idle.append(lane)
            if self._outbox:
                self._flush()

    async def _exchange(self, lane: AbstractConnection, batch: Batch) -> None:
        gets = [command for command in batch if isinstance(command, Get)]
        others = [command for command in batch if isinstance(command, Command)]
        keys = [key for get in gets for key in get.keys]
        parts = [keys[start : start + _MOST_GETS] for start in range(0, len(keys), _MOST_GETS)]
        packed = [_pack(("MGET", *part)) for part in parts]
        packed += [_pack(command.arguments) for command in others]
        await lane.send_packed_command(packed, check_health=False)
        values: list[bytes | None] = []
        for part in parts:
            values += _values(await _reply(lane), len(part))
        _hand_out(gets, values)
        for command in others:
            reply = await _reply(lane)
            if isinstance(reply, NoScriptError) and command.script is not None:
                # The scripts were flushed; the replies before and after stay in order.
                await self._again(command)
            else:
                _settle(command, reply)

    async def _again(self, command: Command) -> None:
        assert command.script is not None
        words = ("EVAL", command.script.text, *command.arguments[2:])
        self._outbox.append(Command(words, command.read, command.done))

    # -- the server goes and comes -------------------------------------------------------

    async def _lost(self, lane: AbstractConnection, batch: Batch, error: Exception) -> None:
        why = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
        if self._away is None:
            log.warning("redis is away", why=why)
            self._away = why or type(error).__name__
        self._fail(batch)
        self._fail(self._outbox)
        self._outbox = []
        self._mend()
        await lane.disconnect(nowait=True)

    def _fail(self, commands: Batch) -> None:
        for command in commands:
            if not command.done.done():
                command.done.set_exception(self._unavailable())
                # Its caller may have left: that is no error of theirs.
                command.done.exception()

    def _mend(self) -> None:
        if not self._closing and (self._mending is None or self._mending.done()):
            self._mending = self._loop.create_task(self._come_back(), name="argo-mw:redis-mend")

    async def _come_back(self) -> None:
        await self._drop_all()
        # redis-py may swallow a cancellation while it connects, so that alone would not end this.
        while not self._closing:
            if await self._reached():
                log.info("redis is back")
                return
            await self._clock.sleep(self._options.retry)

    async def _reached(self) -> bool:
        lanes: list[AbstractConnection] = []
        try:
            async with asyncio.timeout(self._options.timeout * 2):
                for _ in range(self._options.lanes):
                    lanes.append(await self._server.connect())
                    await _load_scripts(lanes[-1])
        except (RedisError, OSError) as error:
            self._away = (
                "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
            )
            for lane in lanes:
                await lane.disconnect(nowait=True)
            return False
        self._idle = lanes
        self._away = None
        return True

    async def _drop_all(self) -> None:
        """Close every connection; what is under way on one fails with it."""
        lanes, self._idle = [*self._idle, *self._busy], []
        for batch in self._busy.values():
            self._fail(batch)
        self._busy.clear()
        for lane in lanes:
            await lane.disconnect(nowait=True)


async def _reply(lane: AbstractConnection) -> Any:
    """The next reply; an error that the server answered is returned."""
    try:
        return await lane.read_response(disable_decoding=True, timeout=math.inf)
    except _WRONG_SERVER:
        raise
    except ResponseError as error:
        return error


async def _load_scripts(lane: AbstractConnection) -> None:
    await lane.send_packed_command(
        [_pack(("SCRIPT", "LOAD", script.text)) for script in ALL], check_health=False
    )
    for script in ALL:
        if await lane.read_response(disable_decoding=True) != script.sha:
            msg = "the server answered something else than it was asked"
            raise InvalidResponse(msg)


def _pack(words: Sequence[Argument]) -> bytes:
    pack: Any = hiredis.pack_command  # its stub takes tuples of one word only
    return cast("bytes", pack(tuple(words)))


def _values(reply: Any, count: int) -> list[bytes | None]:
    if isinstance(reply, ResponseError):
        raise reply
    if (
        not isinstance(reply, list)
        or len(reply) != count
        or not _VALUES.issuperset(map(type, reply))
    ):
        msg = "the server answered something else than it was asked"
        raise InvalidResponse(msg)
    return reply


def _hand_out(gets: list[Get], values: list[bytes | None]) -> None:
    rest = iter(values)
    for get in gets:
        found = next(rest) if get.single else [*islice(rest, len(get.keys))]
        if not get.done.done():
            get.done.set_result(found)


def _settle(command: Command, reply: Any) -> None:
    if command.done.done():
        return
    if not isinstance(reply, ResponseError):
        command.done.set_result(command.read(reply))
        return
    try:
        command.read(reply)  # who expects an error turns it into one of the core's
        msg = f"Redis refused {command.arguments[0]!s}: {reply}"
        raise SharedUnavailable(msg)
    except Exception as error:
        command.done.set_exception(error)
        command.done.exception()


def expect_ok(reply: Any) -> None:
    """For commands that answer OK."""
    if not isinstance(reply, ResponseError) and reply != b"OK":
        msg = "OK was expected"
        raise InvalidResponse(msg)


def expect_integer(reply: Any) -> int:
    """For commands that answer a number."""
    if not isinstance(reply, ResponseError) and type(reply) is not int:
        msg = "a number was expected"
        raise InvalidResponse(msg)
    return cast("int", reply)
