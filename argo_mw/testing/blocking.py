"""Finding calls that block the event loop, by what they call instead of how long they take."""

from __future__ import annotations

import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_CLIENT = "use an asyncio client"
_PROCESS = "await asyncio.create_subprocess_exec()"
_FUNCTIONS = {
    ("time", "sleep"): ("time.sleep", "await context.clock.sleep()"),
    ("_socket", "getaddrinfo"): ("socket.getaddrinfo", _CLIENT),
    ("_posixsubprocess", "fork_exec"): ("subprocess.Popen", _PROCESS),
    ("posix", "system"): ("os.system", _PROCESS),
}
_SOCKET = {"accept", "connect", "recv", "recv_into", "send", "sendall"}
_SQLITE = {"commit", "execute", "executemany", "executescript"}
_STANDARD = {"http", "socket", "sqlite3", "ssl", "subprocess", "urllib"}


@contextmanager
def blocking_calls() -> Iterator[list[str]]:
    """Find calls that block this thread's loop: sleeping, sockets that wait, processes, SQLite.

    The list receives a text for each, with its place and what to do instead. A call counts however
    short it was, so that the result is the same on every machine. Long computations are not
    found: run the program with ``PYTHONASYNCIODEBUG=1`` for those.

    Example::

        with blocking_calls() as found:
            await argo.call("forecast", city="Oslo")
        assert found == []
    """
    found: list[str] = []

    def listen(frame: FrameType, event: str, called: object) -> None:
        blocking = _blocking(called) if event == "c_call" else None
        caller = _caller(frame) if blocking is not None else None
        if blocking is not None and caller is not None:
            where = f"{caller.f_globals.get('__name__')}:{caller.f_lineno}"
            what, instead = blocking
            found.append(
                f"{what} at {where} blocks the event loop, and every call with it: {instead}, "
                "or move it to a thread with asyncio.to_thread()"
            )

    before = sys.getprofile()
    sys.setprofile(listen)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _blocking(called: object) -> tuple[str, str] | None:
    """Return the name of the built-in *called* and what to do instead, if it blocks."""
    name = getattr(called, "__name__", "")
    owner = getattr(called, "__self__", None)
    if isinstance(owner, socket.socket):
        waits = name in _SOCKET and owner.gettimeout() != 0
        return (f"socket.{name}", _CLIENT) if waits else None
    if isinstance(owner, (sqlite3.Connection, sqlite3.Cursor)):
        return (f"sqlite3 {name}", "give it a thread of its own") if name in _SQLITE else None
    return _FUNCTIONS.get((getattr(called, "__module__", None) or "", name))


def _caller(frame: FrameType | None) -> FrameType | None:
    """Return the frame that called the standard library; ``None`` when asyncio itself did."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == "asyncio":
            return None
        if package not in _STANDARD:
            return frame
        frame = frame.f_back
    return None
