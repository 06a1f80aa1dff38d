"""Poolers between a program and PostgreSQL, such as PgBouncer, in transaction mode.

Behind a pooler, each transaction may run on another server connection: statements that were
prepared and settings that were made are missing in the next one, or affect another client. So no
statement stays prepared, settings are made within each transaction, and connections are not reset
when they are returned.
"""

from __future__ import annotations

from typing import cast

import asyncpg  # type: ignore[import-untyped]

_NAME = {"application_name": "argo-mw"}
"""The only setting that every pooler accepts when a connection begins."""

# An acknowledged row is on disk, whatever the server's default.
DURABLE = "synchronous_commit"

ConnectOptions = dict[str, object]
"""The arguments for asyncpg, for each connection."""


class BorrowedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that needs no reset when it is returned to its pool."""

    def get_reset_query(self) -> str:
        return ""


def direct() -> ConnectOptions:
    """Return the options for connections to a server."""
    return {"server_settings": {**_NAME, DURABLE: "on"}}


def borrowed() -> ConnectOptions:
    """Return the options for connections to a pooler; they work for a server too."""
    return {
        "server_settings": _NAME,
        "statement_cache_size": 0,
        "connection_class": BorrowedConnection,
    }


async def is_pooled(url: str, timeout: float) -> bool:
    """Return whether a pooler answers at *url*: it reports another process than the server's.

    Args:
        url: The database.
        timeout: The most seconds to connect, and to answer.
    """
    connection = await asyncpg.connect(url, timeout=timeout, command_timeout=timeout, **borrowed())
    try:
        server = cast("int", await connection.fetchval("SELECT pg_backend_pid()"))
        return server != cast("int", connection.get_server_pid())
    finally:
        await connection.close()
