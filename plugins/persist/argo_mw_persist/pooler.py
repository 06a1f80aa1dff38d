"""Poolers between a program and PostgreSQL, such as PgBouncer, that lend servers by transaction.

Behind one, a connection is another server's from transaction to transaction: what was prepared or
set in one is not there in the next, or is there for a stranger. So no statement stays prepared,
settings are made within each transaction, and nothing is undone when a connection goes back.
"""

from __future__ import annotations

from typing import cast

import asyncpg  # type: ignore[import-untyped]

_NAME = {"application_name": "argo-mw"}
"""The one setting that every pooler takes when a connection begins."""

# Acknowledged means on disk, whatever the server's own default.
DURABLE = "synchronous_commit"

ConnectOptions = dict[str, object]
"""What asyncpg is called with for each connection."""


class BorrowedConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that leaves nothing to be reset when it goes back into its pool."""

    def get_reset_query(self) -> str:
        return ""


def direct() -> ConnectOptions:
    """Return the options for connections to a server."""
    return {"server_settings": {**_NAME, DURABLE: "on"}}


def borrowed() -> ConnectOptions:
    """Return the options for connections to a pooler; they serve for a server too."""
    return {
        "server_settings": _NAME,
        "statement_cache_size": 0,
        "connection_class": BorrowedConnection,
    }


async def is_pooled(url: str, timeout: float) -> bool:
    """Return whether a pooler answers at *url*: what it calls the server is not what that is.

    Args:
        url: The database.
        timeout: Seconds that it may take to connect, and to answer.
    """
    connection = await asyncpg.connect(url, timeout=timeout, command_timeout=timeout, **borrowed())
    try:
        server = cast("int", await connection.fetchval("SELECT pg_backend_pid()"))
        return server != cast("int", connection.get_server_pid())
    finally:
        await connection.close()
