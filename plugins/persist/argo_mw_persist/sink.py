"""Sinks: where rows are kept, chosen by URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from attrs import frozen

from argo_mw.plugin import ConfigError
from argo_mw_persist.schema import Dialect
from argo_mw_persist.tables import Cell, Entry, Row


@frozen
class Query:
    """A statement and what is bound to it.

    Attributes:
        sql: In the sink's dialect, with ``?`` for each parameter.
        parameters: One for each ``?``.
    """

    sql: str
    parameters: Sequence[Cell] = ()


@frozen
class Connections:
    """How a sink's connections are used; what its ``connections`` says, where it has such.

    Attributes:
        used: Those at work.
        idle: Those open and at rest.
        most: How many there may be.
    """

    used: int
    idle: int
    most: int


class Sink(Protocol):
    """Where rows are kept.

    Every method raises :class:`~argo_mw_persist.SinkUnavailable` when the sink cannot answer now
    and trying again may help. No method blocks the event loop.
    ``argo_mw_persist.testing.SinkConformance`` checks all that is said here.

    Attributes:
        dialect: Whose SQL it speaks.
        place: Where it is, without secrets, for people.
    """

    @property
    def dialect(self) -> Dialect: ...

    @property
    def place(self) -> str: ...

    async def open(self, *, migrate: bool = True) -> None:
        """Connect, and bring the tables to this code's version.

        Args:
            migrate: Whether tables of an older version may be changed.

        Raises:
            SchemaError: They are newer than the code, not ours, or old and not to be migrated.
        """

    async def write(self, entries: Sequence[Entry]) -> str:
        """Keep *entries*, all or none, and say where they are safe now: ``sink`` or ``spool``.

        Returns only when they are committed. An entry whose identifier is there already changes
        nothing, so a write may be repeated when nobody knows how it ended.

        Raises:
            RowsRefused: At least one of them can never be kept; nothing was.
        """

    async def read(self, query: Query) -> Sequence[Row]:
        """The rows that *query* finds, of what is committed."""

    async def change(self, query: Query) -> int:
        """Run *query*, one changing statement, in a transaction; how many rows it changed."""

    async def check(self) -> Sequence[str]:
        """What is wrong with the stored data, one line each; nothing when it is well."""

    async def backup(self, to: Path) -> None:
        """Copy everything committed to the file *to* while reads and writes go on."""

    async def aclose(self) -> None:
        """Release connections, threads and files. Idempotent."""


OpenSink = Callable[[str], Sink]
"""Makes the sink at a URL of its scheme, not opened yet."""


def make_sink(url: str, schemes: Mapping[str, OpenSink]) -> Sink:
    """The sink at *url*, not opened yet.

    Args:
        url: The URL.
        schemes: What to call, with the URL, for each scheme.

    Raises:
        ConfigError: Nothing is known for the URL's scheme.
    """
    scheme = urlsplit(url).scheme
    if scheme not in schemes:
        known = ", ".join(f"{name}://" for name in sorted(schemes))
        msg = f"no sink for {scheme or url.partition(':')[0]!r}: a sink's URL begins with {known}"
        raise ConfigError(msg)
    return schemes[scheme](url)
