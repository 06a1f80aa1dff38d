"""Batches: what is sent to the server together. Gets become one MGET, commands follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

import hiredis
from attrs import define, field

from argo_mw_redis.scripts import Script

T = TypeVar("T")

Argument = str | bytes | int

_MAX_GETS: Final = 500
_MAX_COMMANDS: Final = 500


@define(eq=False)
class Command:
    """One command and the future of its result.

    Attributes:
        arguments: Its words.
        read: Turns the reply into the result; raises ``TypeError`` or ``ValueError`` for a reply
            that the command cannot have.
        done: Receives the result.
        script: The script that it runs, if it runs one.
        must: Whether it is sent although its caller has left.
        late: Receives the result if the caller has left; for what is granted.
        until: For clusters: until when it may be redirected, in monotonic seconds.
        asking: For clusters: whether it is sent behind ``ASKING``, for a slot that is being moved.
    """

    arguments: Sequence[Argument]
    read: Callable[[Any], object]
    done: asyncio.Future[Any]
    script: Script | None = None
    must: bool = False
    late: Callable[[Any], None] | None = None
    until: float | None = None
    asking: bool = False

    @property
    def key(self) -> str:
        """Return its first key."""
        return str(self.arguments[3 if self.name.startswith("EVAL") else 1])

    @property
    def name(self) -> str:
        """Return its name, such as ``SET``."""
        return str(self.arguments[0])


Get = tuple[str | bytes, asyncio.Future[bytes | None]]
"""A key and the future of its value.

A tuple, since every get makes one, and an object costs four times as much.
"""


@define(eq=False)
class Batch:
    """Gets and commands that are sent together.

    Attributes:
        gets: The gets, which become one MGET.
        commands: The commands, which follow it in their order.
    """

    gets: list[Get] = field(factory=list)
    commands: list[Command] = field(factory=list)

    def __len__(self) -> int:
        return len(self.gets) + len(self.commands)

    def split(self) -> tuple[Batch, Batch]:
        """Return what may be sent at once, without what was cancelled, and the rest."""
        gets, commands = self.gets[:_MAX_GETS], self.commands[:_MAX_COMMANDS]
        first = Batch(
            [get for get in gets if not get[1].done()],
            [command for command in commands if command.must or not command.done.done()],
        )
        return first, Batch(self.gets[_MAX_GETS:], self.commands[_MAX_COMMANDS:])

    def packed(self) -> list[bytes]:
        """Return the bytes of its commands, as the server expects them."""
        packed = [pack(("MGET", *[key for key, _ in self.gets]))] if self.gets else []
        packed += [pack(command.arguments) for command in self.commands]
        return packed

    def fail(self, error: Callable[[], Exception]) -> None:
        """Fail all futures, each with an exception of its own."""
        self.fail_gets(error)
        fail((command.done for command in self.commands), error)

    def fail_gets(self, error: Callable[[], Exception]) -> None:
        """Fail the futures of the gets, each with an exception of its own."""
        fail((done for _, done in self.gets), error)


class Carrier(Protocol):
    """Carries commands to a server, or to those of a cluster; see its ``Batcher``."""

    @property
    def unreachable(self) -> str | None: ...
    @property
    def openings(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def busy(self) -> int: ...
    @property
    def max_connections(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    async def start(self) -> None: ...
    async def drain(self) -> None: ...
    async def aclose(self) -> None: ...
    def check_reachable(self) -> None: ...
    def get(self, key: str) -> asyncio.Future[bytes | None]: ...
    def send(
        self,
        arguments: Sequence[Argument],
        read: Callable[[Any], T],
        *,
        script: Script | None = None,
        must: bool = False,
        late: Callable[[T], None] | None = None,
    ) -> asyncio.Future[T]: ...


def fail(waiting: Iterable[asyncio.Future[Any]], error: Callable[[], Exception]) -> None:
    """Fail the futures that wait, each with an exception of its own."""
    for done in waiting:
        if not done.done():
            done.set_exception(error())
            # Retrieved, since its caller may have left: asyncio would log it otherwise.
            done.exception()


def pack(words: Sequence[Argument]) -> bytes:
    """Return the bytes of one command."""
    pack_command: Any = hiredis.pack_command  # its stub takes tuples of one word only
    return cast("bytes", pack_command(tuple(words)))
