"""Commands that are called in one turn of the event loop are sent together.

Each of a few connections carries one batch at a time; while all are busy, the next batch grows. A
caller owns only a future: one that leaves disturbs neither other callers nor the connection.

If the server has closed an idle connection, it is replaced before anything is sent on it; what
waits is sent on the new one.

When a connection fails, everything under way fails. From then on every command fails at once, until
the server can be reached again: a background task finds that out, never a caller. A server that
refuses some commands, such as writes, stays in use: each refusal is an error of its command. Only a
replica counts as unreachable, until a write succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, TypeVar

from attrs import evolve
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError, ResponseError

from argo_mw.plugin import Clock, Log, SharedUnavailable
from argo_mw_redis.batch import Argument, Batch, Command, pack
from argo_mw_redis.refusals import refusal, unreachable
from argo_mw_redis.replies import WRONG_SERVER, expect_values, settle
from argo_mw_redis.scripts import ALL, Script
from argo_mw_redis.servers import Options, Server
from argo_mw_redis.wire import NONSENSE, Parse, Replies, Wire, next_reply

T = TypeVar("T")

log = Log("argo_mw")


class Batcher:
    """Carries commands to a server.

    Args:
        server: Makes connections.
        options: Timeouts and bounds.
        clock: Measures timeouts, and paces the attempts to reach a server that is unreachable.

    Attributes:
        openings: How often the server was reached.
    """

    def __init__(self, server: Server, options: Options, clock: Clock) -> None:
        self._server = server
        self._options = options
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._outbox = Batch()
        self._scheduled = False
        self._put_off = False
        self._idle: list[Wire] = []
        self._busy: dict[Wire, Batch] = {}
        self._batch_ended = asyncio.Event()
        self._replacing: set[asyncio.Task[None]] = set()
        self._reconnecting: asyncio.Task[None] | None = None
        self._unreachable: str | None = "not connected yet"
        self._closing = False
        self.openings = 0

    @property
    def unreachable(self) -> str | None:
        """Why the server cannot be reached, or ``None`` while it can."""
        return self._unreachable

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._idle) + len(self._busy)

    @property
    def busy(self) -> int:
        """The number of connections that carry a batch now."""
        return len(self._busy)

    @property
    def max_connections(self) -> int:
        """The number of connections while the server can be reached."""
        return self._options.connections

    @property
    def waiting(self) -> int:
        """The number of commands that wait for a connection."""
        return len(self._outbox)

    async def start(self) -> None:
        """Connect; if that fails, go on trying in the background."""
        if not await self._connect():
            self._reconnect()

    async def drain(self) -> None:
        """Wait until all commands have been answered or have failed."""
        while self._outbox or self._busy or self._replacing:
            self._flush()
            self._batch_ended.clear()
            if self._busy:
                await self._batch_ended.wait()
            await asyncio.gather(*self._replacing, return_exceptions=True)

    async def aclose(self) -> None:
        """Finish what is under way, then close the connections."""
        self._closing = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        await self.drain()
        self._unreachable = "the store was closed"
        self._drop_connections()
        await self._server.aclose()

    # -- sending -------------------------------------------------------------------------

    def send(
        self,
        arguments: Sequence[Argument],
        read: Callable[[Any], T],
        *,
        script: Script | None = None,
        must: bool = False,
        late: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]:
        """Send a command with this turn's batch, and return the future of its result.

        Args:
            arguments: Its words.
            read: Turns the reply into the result.
            script: The script that it runs, if it runs one.
            must: Whether it is sent even if its caller has left by then. Nobody is in a hurry for
                its result, so it travels with what is asked for in the next turn, if anything is.
            late: Receives the result if the caller has left; for what is granted.

        Raises:
            SharedUnavailable: The server is unreachable, or too many commands wait.
        """
        waiting = self._outbox.commands
        if self._unreachable is not None or len(waiting) >= self._options.max_waiting:
            raise self._refusal()
        done: asyncio.Future[T] = self._loop.create_future()
        waiting.append(Command(arguments, read, done, script, must, late))
        if not self._scheduled:
            if must:
                self._put_off_flush()
            else:
                self._schedule()
        return done

    def get(self, key: str | bytes) -> asyncio.Future[bytes | None]:
        """Get one value with this turn's batch; raises as :meth:`send` does."""
        # Repeats send() instead of sharing code with it: this is the hottest path.
        waiting = self._outbox.gets
        if self._unreachable is not None or len(waiting) >= self._options.max_waiting:
            raise self._refusal()
        done: asyncio.Future[bytes | None] = self._loop.create_future()
        waiting.append((key, done))
        if not self._scheduled:
            self._schedule()
        return done

    def check_reachable(self) -> None:
        """Return if the server can be reached, as far as is known.

        Raises:
            SharedUnavailable: It is unreachable.
        """
        if self._unreachable is not None:
            raise self._unavailable()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._flush)

    def _put_off_flush(self) -> None:
        # A caller that was answered in this turn asks the next question in it, mostly, and what
        # its question begins beside it is sent in the next one. All of it becomes one batch.
        if not self._put_off:
            self._put_off = True
            self._loop.call_soon(self._flush_put_off)

    def _flush_put_off(self) -> None:
        self._put_off = False
        if not self._scheduled:
            self._go_on()

    def _refusal(self) -> SharedUnavailable:
        if self._unreachable is not None:
            return self._unavailable()
        msg = (
            f"{len(self._outbox)} commands wait for Redis already; raise max_waiting in the URL, "
            "or send fewer commands at once"
        )
        return SharedUnavailable(msg)

    def _unavailable(self) -> SharedUnavailable:
        msg = f"Redis cannot be reached: {self._unreachable}"
        return SharedUnavailable(msg)

    def _lost(self) -> SharedUnavailable:
        """Return the error of a command that the server may have carried out."""
        msg = f"Redis cannot be reached: {self._unreachable}"
        return SharedUnavailable(msg, uncertain=True)

    def _flush(self) -> None:
        self._scheduled = False
        while self._outbox and self._idle:
            wire = self._idle.pop()
            if wire.ended:
                self._replace(wire)
                continue
            batch, self._outbox = self._outbox.split()
            if batch:
                self._carry(wire, batch)
            else:
                self._idle.append(wire)
        if self._unreachable is not None:
            self._fail_waiting()

    # -- one batch on one connection -----------------------------------------------------

    def _carry(self, wire: Wire, batch: Batch) -> None:
        self._busy[wire] = batch
        try:
            wire.carry(self._packed(batch), self._replies(wire.parse, batch))
        except Exception as error:  # a command that cannot be packed
            wire.close()
            self.lost(wire, error)

    def done(self, wire: Wire) -> None:
        """Take *wire* back once its batch is answered, and send what waits for a connection."""
        del self._busy[wire]
        self._batch_ended.set()
        self._idle.append(wire)
        if self._outbox:
            self._go_on()

    def lost(self, wire: Wire, error: Exception) -> None:
        """Fail what is under way, since *wire* was lost to *error* with a batch on it."""
        batch = self._busy.pop(wire)
        self._batch_ended.set()
        self._on_lost(batch, error)

    def _go_on(self) -> None:
        self._flush()

    def _packed(self, batch: Batch) -> list[bytes]:
        return batch.packed()

    def _replies(self, parse: Parse, batch: Batch) -> Replies:
        """Hand the replies to *batch* to its futures, as they arrive."""
        if batch.gets:
            reply = yield from next_reply(parse, raised=WRONG_SERVER)
            if isinstance(reply, ResponseError):
                why = refusal("MGET", reply, self._options.prefix)
                batch.fail_gets(lambda: SharedUnavailable(why))
            else:
                values = expect_values(reply, len(batch.gets))
                for (_, done), value in zip(batch.gets, values, strict=True):
                    if not done.done():
                        done.set_result(value)
        for command in batch.commands:
            reply = yield from next_reply(parse, raised=WRONG_SERVER)
            if isinstance(reply, NoScriptError) and command.script is not None:
                # The server has lost its scripts. The replies to the other commands follow.
                self._send_with_script(command, command.script)
            else:
                settle(command, reply, self._options.prefix)

    def _send_with_script(self, command: Command, script: Script) -> None:
        words = ("EVAL", script.text, *command.arguments[2:])
        self._outbox.commands.append(evolve(command, arguments=words, script=None))

    # -- the server goes and comes back --------------------------------------------------

    def _replace(self, ended: Wire) -> None:
        """Replace *ended*, on which nothing is under way."""
        ended.close()
        # Not in the context of this caller: other callers will use the connection.
        task = self._loop.create_task(
            self._connect_anew(), name="argo-mw:redis-replace", context=Context()
        )
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _connect_anew(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout):
                wire = await self._connected()
        except Exception as error:
            self._on_lost(Batch(), error)
            return
        except BaseException:
            self._unreachable = self._unreachable or "connecting was interrupted"
            self._fail_waiting()
            raise
        self._opened()
        if self._unreachable is None:
            self._idle.append(wire)
            self._flush()
        else:  # another connection has failed meanwhile
            wire.close()

    def _on_lost(self, batch: Batch, error: Exception) -> None:
        if self._unreachable is None:
            self._unreachable = self._reason(error)
            log.info("redis is unreachable", why=self._unreachable)
        batch.fail(self._lost)
        self._fail_waiting()
        self._reconnect()

    def _fail_waiting(self) -> None:
        failed, self._outbox = self._outbox, Batch()
        failed.fail(self._unavailable)

    def _reconnect(self) -> None:
        if not self._closing and (self._reconnecting is None or self._reconnecting.done()):
            reconnecting = self._try_until_connected()
            # Not in the context of the call that found the server unreachable, which it outlives.
            self._reconnecting = self._loop.create_task(
                reconnecting, name="argo-mw:redis-reconnect", context=Context()
            )

    async def _try_until_connected(self) -> None:
        self._drop_connections()
        # redis-py may swallow a cancellation while it connects, so the loop checks for closing too.
        while not self._closing:
            if await self._connect():
                log.info("redis is back")
                return
            await self._clock.sleep(self._options.retry_interval)

    async def _connect(self) -> bool:
        wires: list[Wire] = []
        try:
            async with asyncio.timeout(self._options.timeout * 2):
                while len(wires) < self._options.connections:
                    wires.append(await self._connected())
        except Exception as error:  # redis-py raises anything for a nonsensical reply or name
            self._unreachable = self._reason(error)
        else:
            self._idle, wires = wires, []
            self._unreachable = None
            self._opened()
        finally:
            for wire in wires:
                wire.close()
        return self._unreachable is None

    async def _connected(self) -> Wire:
        """Return a new connection, ready for batches.

        Raises:
            redis.exceptions.RedisError, OSError: The server cannot be reached now, or is a replica.
        """
        connection = await self._server.connect()
        try:
            await self._prepare(connection)
            if await connection.can_read():  # more than was asked for
                raise InvalidResponse(NONSENSE)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return Wire(connection, self, self._options.timeout, self._clock)

    def _opened(self) -> None:
        """Count that the server was reached; called before any command is sent."""
        self.openings += 1

    async def _prepare(self, connection: AbstractConnection) -> None:
        """Load the scripts, and write a probe to learn whether the server takes writes.

        Raises:
            redis.exceptions.RedisError: It is a replica, or answers nonsense.
        """
        loads = [pack(("SCRIPT", "LOAD", script.text)) for script in ALL]
        probe = pack(("SET", f"{self._options.prefix}probe", b"1", "PX", 1_000))
        await connection.send_packed_command([*loads, probe], check_health=False)
        for script in ALL:
            reply = await _next_reply(connection)
            # If the user or the server does not allow SCRIPT LOAD, scripts are sent in full.
            if reply != script.sha and not isinstance(reply, ResponseError):
                raise InvalidResponse(NONSENSE)
        reply = await _next_reply(connection)
        if isinstance(reply, ReadOnlyError):
            raise reply
        if reply != b"OK" and not isinstance(reply, ResponseError):
            raise InvalidResponse(NONSENSE)

    def _reason(self, error: Exception) -> str:
        options = self._options
        return unreachable(error, prefix=options.prefix, escaped=options.escaped)

    def _drop_connections(self) -> None:
        """Close every connection; the batches under way fail."""
        wires, self._idle = [*self._idle, *self._busy], []
        for batch in self._busy.values():
            batch.fail(self._lost)
        self._busy.clear()
        self._batch_ended.set()
        for wire in wires:
            wire.close()


async def _next_reply(connection: AbstractConnection) -> Any:
    """Return the next reply; an error that the server answered is returned, not raised."""
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error
