"""The hooks of this plugin's own, for other plugins to implement.

Implement them with ``@hookimpl(optionalhook=True)``, so that the plugin also works where persist
is not installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from argo_mw.plugin import hookspec
from argo_mw_persist.database import Database
from argo_mw_persist.sink import OpenSink


@hookspec
def register_sinks() -> Mapping[str, OpenSink]:  # type: ignore[empty-body]
    """Sinks by URL scheme: functions that make one, not opened yet, from its URL.

    What ``url`` in ``[plugins.persist]`` begins with chooses among them. Let
    ``argo_mw_persist.testing.SinkConformance`` check yours.

    Implement it with ``@hookimpl(optionalhook=True)``, so that the plugin also works where persist
    is not installed.
    """


@hookspec
def register_tables() -> Iterable[Mapping[str, object]]:  # type: ignore[empty-body]
    """Tables for the rows of this plugin's recordings, each a mapping with the keys

    ``name``
        Its name, unique among all plugins; recordings and rows name it.
    ``columns``
        What each column holds, by name, in the order of a row's cells: ``id`` (16 bytes that grow
        with time, see ``argo_mw.plugin.TimeOrderedIds``), ``text``, ``real``, ``int``, ``flag`` or
        ``bytes``. The first is called ``id``.
    ``migrations``
        A list of steps, each a list of SQL statements. The first step creates the table and its
        indexes; every later one is for databases that were made before it. Types are written as
        ``{text}``, for SQLite and PostgreSQL alike, and ``id {id} NOT NULL UNIQUE`` is required.
    ``tag_columns``, ``tags``
        The columns that decide which tags change with a row, and a function from their cells to
        these tags; optional, by default the table's name. For rows that come out of the spool or
        are deleted: a row that is recorded brings its own.
    ``newest``
        Which of its rows are the newest, optional: a mapping with the names of the columns
        ``subject``, ``tenant`` and, as a list, ``order``, by which rows are ordered from older to
        newer. None of them is ever NULL. ``database.newest(table, subjects, tenant)`` then returns
        the newest rows quickly.
    ``make``
        What ``newest`` returns: a function from a list of rows, each a tuple of cells, to a list of
        values; optional, by default the rows. These values are held in memory and given to every
        caller, so they must not change; it is called in another thread.

    How long rows are kept is configured by the table's name, in
    ``[plugins.persist.retention.days]``.

    Implement it with ``@hookimpl(optionalhook=True)``, so that the plugin also works where persist
    is not installed.
    """


@hookspec
def database_opened(database: Database) -> None:
    """Receive the database once it is open, to read and change this plugin's own tables.

    ``database.read(sql, parameters)``, ``newest(table, subjects, tenant)``,
    ``change(sql, parameters, tags=...)``, ``record(row)``, ``write(rows)`` and ``flush()`` are
    awaited, ``database.dialect`` is ``sqlite`` or ``postgresql``. It stays the same when the
    configuration names another database.

    Implement it with ``@hookimpl(optionalhook=True)``, so that the plugin also works where persist
    is not installed.
    """
