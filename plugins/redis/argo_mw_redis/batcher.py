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
from typing import Any, Final, TypeVar, cast

import hiredis
from attrs import define, field
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

from argo_mw.plugin import Clock, Log, SharedUnavailable
from argo_mw_redis.patience import patience
from argo_mw_redis.scripts import ALL, Script
from argo_mw_redis.servers import Options, Server

T = TypeVar("T")
Argument = str | bytes | int

_VALUES: Final = frozenset({bytes, type(None)})
_MOST_GETS: Final = 500
_MOST_COMMANDS: Final = 500
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


Get = tuple[str, asyncio.Future[bytes | None]]
"""A key, to be asked with those of others in one MGET, and who waits for its value.

A tuple, since there is one for every get: an object costs four times as much.
"""


@define(eq=False)
class Batch:
    """What travels together.

    Attributes:
        gets: Becomes one MGET.
        commands: Follow it, in their order.
    """

    gets: list[Get] = field(factory=list)
    commands: list[Command] = field(factory=list)

    def __len__(self) -> int:
        return len(self.gets) + len(self.commands)

    def split(self) -> tuple[Batch, Batch]:
        """What may travel at once, without those whose callers have left; and the rest."""
        gets, commands = self.gets[:_MOST_GETS], self.commands[:_MOST_COMMANDS]
        first = Batch(
            [get for get in gets if not get[1].done()],
            [command for command in commands if not command.done.done()],
        )
        return first, Batch(self.gets[_MOST_GETS:], self.commands[_MOST_COMMANDS:])

    def fail(self, why: Callable[[], Exception]) -> None:
        """Tell everyone who waits that it failed, each by an exception of their own."""
        waiting: list[asyncio.Future[Any]] = [done for _, done in self.gets]
        waiting += [command.done for command in self.commands]
        for done in waiting:
            if not done.done():
                done.set_exception(why())
                # Its caller may have left: that is no error of theirs.
                done.exception()


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
        self._outbox = Batch()
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
        waiting = self._outbox.commands
        if self._away is not None or len(waiting) >= self._options.most_waiting:
            raise self._refusal()
        done: asyncio.Future[T] = self._loop.create_future()
        waiting.append(Command(arguments, read, done, script))
        if not self._scheduled:
            self._schedule()
        return done

    def get(self, key: str) -> asyncio.Future[bytes | None]:
        """Get one value with this turn's batch; raises as :meth:`ask` does."""
        # As in ask(), spelt out: there is nothing here that could cost less.
        waiting = self._outbox.gets
        if self._away is not None or len(waiting) >= self._options.most_waiting:
            raise self._refusal()
        done: asyncio.Future[bytes | None] = self._loop.create_future()
        waiting.append((key, done))
        if not self._scheduled:
            self._schedule()
        return done

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush)

    def _refusal(self) -> SharedUnavailable:
        if self._away is not None:
            return self._unavailable()
        msg = f"{len(self._outbox)} commands wait for Redis already"
        return SharedUnavailable(msg)

    def _unavailable(self) -> SharedUnavailable:
        msg = f"Redis cannot be reached: {self._away}"
        return SharedUnavailable(msg)

    def _flush(self) -> None:
        self._scheduled = False
        while self._outbox and self._idle:
            batch, self._outbox = self._outbox.split()
            if batch:
                lane = self._idle.pop()
                self._busy[lane] = batch
                task = self._loop.create_task(self._carry(lane, batch), name="argo-mw:redis-batch")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        if self._away is not None:
            self._fail_waiting()

    # -- one batch on one lane -----------------------------------------------------------

    async def _carry(self, lane: AbstractConnection, batch: Batch) -> None:
        try:
            async with patience(self._options.timeout):
                await self._exchange(lane, batch)
        except (RedisError, OSError, TypeError, ValueError) as error:
            if self._busy.pop(lane, None) is not None:  # else it was dropped with all others
                await self._lost(lane, batch, error)
        except BaseException:
            # Who cancels this task is ending the loop: nobody is left to mend.
            self._busy.pop(lane, None)
            self._away = self._away or "a connection was cut off"
            batch.fail(self._unavailable)
            self._fail_waiting()
            await lane.disconnect(nowait=True)
            raise
        else:
            if self._busy.pop(lane, None) is not None:
                self._idle.append(lane)
            else:  # dropped before it began, it has connected again to send
                await lane.disconnect(nowait=True)
            if self._outbox:
                self._flush()

    async def _exchange(self, lane: AbstractConnection, batch: Batch) -> None:
        packed = [_pack(("MGET", *[key for key, _ in batch.gets]))] if batch.gets else []
        packed += [_pack(command.arguments) for command in batch.commands]
        await lane.send_packed_command(packed, check_health=False)
        if batch.gets:
            reply = await _reply(lane)
            if isinstance(reply, ResponseError):
                raise reply
            values = expect_values(reply, len(batch.gets))
            for (_, done), value in zip(batch.gets, values, strict=True):
                if not done.done():
                    done.set_result(value)
        for command in batch.commands:
            reply = await _reply(lane)
            if isinstance(reply, NoScriptError) and command.script is not None:
                # The scripts were flushed; the replies before and after stay in order.
                await self._again(command)
            else:
                _settle(command, reply)

    async def _again(self, command: Command) -> None:
        assert command.script is not None
        words = ("EVAL", command.script.text, *command.arguments[2:])
        self._outbox.commands.append(Command(words, command.read, command.done))

    # -- the server goes and comes -------------------------------------------------------

    async def _lost(self, lane: AbstractConnection, batch: Batch, error: Exception) -> None:
        if self._away is None:
            self._away = _reason(error)
            log.warning("redis is away", why=self._away)
        batch.fail(self._unavailable)
        self._fail_waiting()
        self._mend()
        await lane.disconnect(nowait=True)

    def _fail_waiting(self) -> None:
        failed, self._outbox = self._outbox, Batch()
        failed.fail(self._unavailable)

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
                    # A batch has a timeout of its own; redis-py's makes a task of each send.
                    lanes[-1].socket_timeout = None
        except Exception as error:  # what nonsense, or a name that is none, makes redis-py raise
            self._away = _reason(error)
        else:
            self._idle, lanes = lanes, []
            self._away = None
        finally:
            for lane in lanes:
                await lane.disconnect(nowait=True)
        return self._away is None

    async def _drop_all(self) -> None:
        """Close every connection; what is under way on one fails with it."""
        lanes, self._idle = [*self._idle, *self._busy], []
        for batch in self._busy.values():
            batch.fail(self._unavailable)
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


def _reason(error: Exception) -> str:
    """Why the server is away, in words."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(error) or type(error).__name__


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


def expect_values(reply: Any, count: int) -> list[bytes | None]:
    """For commands that answer *count* values."""
    if not isinstance(reply, ResponseError) and not (
        isinstance(reply, list) and len(reply) == count and _VALUES.issuperset(map(type, reply))
    ):
        msg = f"{count} values were expected"
        raise InvalidResponse(msg)
    return cast("list[bytes | None]", reply)
