"""Sinks: where rows are kept, chosen by URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from attrs import frozen

from argo_mw.plugin import Cell, ConfigError, Row, redact_url
from argo_mw_persist.partitions import Partition
from argo_mw_persist.schema import Schema
from argo_mw_persist.tables import Cells, Dialect, Table


@frozen
class Query:
    """A statement and its parameters.

    Attributes:
        sql: The statement in the sink's dialect, with ``?`` for each parameter.
        parameters: One value for each ``?``.
    """

    sql: str
    parameters: Sequence[Cell] = ()


@frozen
class Connections:
    """How a sink's connections are used: the value of its optional attribute ``connections``.

    Attributes:
        used: Connections in use.
        idle: Open connections that are not in use.
        limit: The most connections.
    """

    used: int
    idle: int
    limit: int


class Sink(Protocol):
    """A place where rows are kept.

    Every method raises :class:`~argo_mw_persist.SinkUnavailable` if the sink cannot answer now and
    trying again may help. No method blocks the event loop.
    ``argo_mw_persist.testing.SinkConformance`` checks all of this.

    Attributes:
        dialect: Its SQL dialect, ``sqlite`` or ``postgresql``.
        place: Where it is, for people to read, without secrets.
    """

    @property
    def dialect(self) -> Dialect: ...

    @property
    def place(self) -> str: ...

    async def open(self, schema: Schema, *, migrate: bool = True) -> None:
        """Connect, and migrate the tables of *schema* to this code's versions.

        Args:
            schema: The tables to keep; later calls use no others.
            migrate: Whether tables of an older version may be changed.

        Raises:
            SchemaError: A table is newer than the code, not ours, or old and not to be migrated.
        """

    async def write(self, rows: Sequence[Row]) -> str:
        """Keep *rows*, all or none, and return where they are safe: ``sink`` or ``spool``.

        Returns only when they are committed. A row whose identifier exists changes nothing, so a
        write with an unknown outcome may be repeated.

        Raises:
            RowsRefused: At least one row can never be kept; none was.
        """

    async def read(self, query: Query) -> Sequence[Cells]:
        """Return the committed rows that *query* finds."""

    async def change(self, query: Query) -> int:
        """Run *query*, one changing statement, in a transaction; return how many rows changed."""

    async def check(self) -> Sequence[str]:
        """Return one line for each thing that is wrong with the stored data."""

    async def backup(self, to: Path) -> None:
        """Copy everything committed to the file *to* while reads and writes go on."""

    async def aclose(self) -> None:
        """Release connections, threads and files. Idempotent."""


@runtime_checkable
class KeepsNewest(Protocol):
    """A sink that can return the newest rows of tables quickly."""

    async def newest(
        self, table: Table, subjects: Collection[str], tenant: str
    ) -> Mapping[str, object]:
        """Return what *table* makes of the newest row of each of *subjects* that has any.

        Args:
            table: A table that declares ``newest``.
            subjects: The subjects, each once.
            tenant: The tenant that asks: it sees its own rows and those that all tenants share; of
                equally new ones, the shared one.
        """


@runtime_checkable
class HasClock(Protocol):
    """A sink whose database has a clock, which may be another than this machine's."""

    async def now(self) -> float | None:
        """Return the database's time, in seconds since the epoch, or ``None`` if it has none."""


@runtime_checkable
class KeepsPartitions(Protocol):
    """A sink that can divide a table by time, and drop old partitions."""

    async def partitions(self, table: Table) -> Sequence[Partition] | None:
        """Return the partitions of *table*, the oldest first, or ``None`` if it is not divided."""

    async def extend(self, table: Table) -> None:
        """Make the partitions of *table* for the near future."""

    async def drop(self, table: Table, partition: Partition) -> Sequence[Cells] | None:
        """Drop *partition* with its rows; return ``None`` if it is in use.

        Returns:
            For each combination of the table's ``tag_columns``, the number of rows, then the cells.
        """


OpenSink = Callable[[str], Sink]
"""Makes the sink at a URL of its scheme, not opened yet."""


def make_sink(url: str, schemes: Mapping[str, OpenSink]) -> Sink:
    """Return the sink at *url*, not opened yet.

    Args:
        url: The URL.
        schemes: For each scheme, the function to call with the URL.

    Raises:
        ConfigError: The URL is malformed, or no sink is registered for its scheme.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises when it is not a number
    except ValueError:
        msg = (
            f"[plugins.persist] url = {redact_url(url)!r} cannot be used; write "
            "SCHEME://USER:PASSWORD@HOST:PORT/NAME, with @ / ? # [ ] in a password as %40 %2F "
            "%3F %23 %5B %5D"
        )
        raise ConfigError(msg) from None
    scheme = parts.scheme
    if scheme not in schemes:
        known = ", ".join(f"{name}://" for name in sorted(schemes))
        given = f"{scheme}://" if scheme else "no scheme"
        msg = f"[plugins.persist] url begins with {given}, which no sink serves; known are {known}"
        raise ConfigError(msg)
    return schemes[scheme](url)
