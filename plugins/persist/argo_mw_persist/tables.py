"""Tables: their names, columns, migrations and tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, field, frozen, validators

from argo_mw.plugin import Cell, ConfigError, Row, structure
from argo_mw_persist.newest import Make, Newest

Dialect = Literal["sqlite", "postgresql"]
Cells = tuple[Cell, ...]
ColumnType = Literal["id", "text", "real", "int", "flag", "bytes"]

TYPES: dict[Dialect, dict[ColumnType, str]] = {
    "sqlite": {
        "id": "BLOB",
        "text": "TEXT",
        "real": "REAL",
        "int": "INTEGER",
        "flag": "INTEGER",
        "bytes": "BLOB",
    },
    "postgresql": {
        "id": "uuid",
        "text": "text",
        "real": "double precision",
        "int": "bigint",
        "flag": "boolean",
        "bytes": "bytea",
    },
}

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")


@frozen(eq=False)
class Table:
    """A table whose first column is the identifier of its rows.

    Attributes:
        name: Its name in every sink.
        columns: The type of each column, by name, in the order of a row's cells. The first is
            ``id``, 16 bytes ordered by time.
        migrations: The statements that migrate the table from each version to the next; the first
            step creates it and its indexes. Types are written as ``{text}``.
        tag_columns: The columns that decide which tags change with a row.
        tags: Returns those tags from the cells of these columns.
        newest: Which of its rows are the newest, for sinks that can return these quickly.
        make: Turns rows into what readers of the newest get.
    """

    name: str
    columns: Mapping[str, ColumnType]
    migrations: Sequence[Sequence[str]]
    tag_columns: Sequence[str] = ()
    tags: Callable[..., tuple[str, ...]] = field()
    newest: Newest | None = None
    make: Make = list
    names: tuple[str, ...] = field(init=False)
    _tag_places: tuple[int, ...] = field(init=False)
    _flags: frozenset[int] = field(init=False)

    @tags.default
    def _own_name(self) -> Callable[..., tuple[str, ...]]:
        tags = (self.name,)
        return lambda: tags

    @names.default
    def _names_in_order(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @_tag_places.default
    def _places(self) -> tuple[int, ...]:
        return tuple(self.names.index(name) for name in self.tag_columns)

    @_flags.default
    def _truth_values(self) -> frozenset[int]:
        kinds = self.columns.values()
        return frozenset(place for place, kind in enumerate(kinds) if kind == "flag")

    @property
    def version(self) -> int:
        """The version after all migrations."""
        return len(self.migrations)

    def statements(self, dialect: Dialect, since: int) -> list[str]:
        """Return the statements that migrate the table from version *since* to this code's."""
        types = TYPES[dialect]
        return [text.format(**types) for step in self.migrations[since:] for text in step]

    def restored(self, cells: Cells) -> Row:
        """Return the row that was written as *cells*, with numbers turned back to truth values."""
        if self._flags:
            cells = tuple(
                bool(cell) if place in self._flags else cell for place, cell in enumerate(cells)
            )
        return Row(self.name, cells, self.tags(*(cells[place] for place in self._tag_places)))


@frozen
class TableDeclaration:
    """The mapping by which a plugin declares a table; see :class:`Table`."""

    name: str = field(validator=validators.matches_re(_NAME))
    columns: Mapping[str, ColumnType]
    migrations: Sequence[Sequence[str]] = field(validator=validators.min_len(1))
    tag_columns: Sequence[str] = ()
    newest: Newest | None = None


def declared(plugin: str, answer: object) -> list[Table]:
    """Return the tables that *plugin* declares in its *answer* to ``register_tables``.

    Raises:
        ConfigError: The answer is not a list of mappings, or a mapping has an unknown key, lacks
            one, or has a value of the wrong type.
    """
    where = f"plugin {plugin!r}, register_tables"
    if not isinstance(answer, Iterable) or isinstance(answer, str | Mapping):
        msg = f"{where}: it answers {type(answer).__name__}; answer a list of mappings"
        raise ConfigError(msg)
    return [_declared(where, given) for given in answer]


def _declared(where: str, given: object) -> Table:
    if not isinstance(given, Mapping):
        msg = f"{where}: a table is declared by a mapping, not by a {type(given).__name__}"
        raise ConfigError(msg)
    functions = ("tags", "make")
    rest = {key: value for key, value in given.items() if key not in functions}
    found = structure(rest, TableDeclaration, where=where)
    tags, make = given.get("tags"), given.get("make", list)
    problem = _problem(found, tags, make)
    if problem:
        msg = f"{where}: table {found.name!r} {problem}"
        raise ConfigError(msg)
    table = Table(found.name, found.columns, found.migrations, newest=found.newest, make=make)
    return table if tags is None else evolve(table, tag_columns=found.tag_columns, tags=tags)


def _problem(found: TableDeclaration, tags: object, make: object) -> str:
    if next(iter(found.columns), None) != "id" or found.columns["id"] != "id":
        return "has no column 'id' of the type 'id' as its first one"
    wrong = [name for name in found.columns if not _NAME.match(name)]
    wrong += [name for name in (*found.tag_columns, *_used(found)) if name not in found.columns]
    if wrong:
        return f"names a column {wrong[0]!r}, which is no name for one"
    if (tags is None) != (not found.tag_columns) or not (tags is None or callable(tags)):
        return "needs `tags`, a function, and `tag_columns`, its arguments, together"
    if not callable(make):
        return "needs as `make` a function from a list of rows to a list of values"
    return ""


def _used(found: TableDeclaration) -> tuple[str, ...]:
    newest = found.newest
    return () if newest is None else (newest.subject, newest.tenant, *newest.order)


def by_table(rows: Sequence[Row]) -> dict[str, list[Cells]]:
    """Return the cells of *rows* in their order, by the name of their table."""
    groups: dict[str, list[Cells]] = {}
    for row in rows:
        groups.setdefault(row.table, []).append(row.cells)
    return groups


ANSWERS = Table(
    "answers",
    {
        "id": "id",
        "tenant": "text",
        "operation": "text",
        "key": "text",
        "subject": "text",
        "upstream": "text",
        "timestamp": "int",
        "value": "bytes",
        "lacks": "text",
    },
    [
        (
            """CREATE TABLE answers (
                id {id} NOT NULL UNIQUE,
                tenant {text} NOT NULL,
                operation {text} NOT NULL,
                key {text} NOT NULL,
                subject {text} NOT NULL,
                upstream {text},
                timestamp {int} NOT NULL,
                value {bytes} NOT NULL)""",
            "CREATE INDEX answers_by_subject ON answers (operation, subject, timestamp DESC)",
        ),
        ("CREATE INDEX answers_by_time ON answers (operation, timestamp DESC)",),
        ("ALTER TABLE answers ADD COLUMN lacks {text}",),
    ],
)
CHARGES = Table(
    "charges",
    {
        "id": "id",
        "tenant": "text",
        "operation": "text",
        "subject": "text",
        "upstream": "text",
        "timestamp": "int",
        "status": "text",
        "latency": "real",
        "layer": "text",
        "usd": "real",
        "tokens_in": "int",
        "tokens_out": "int",
        "requests": "real",
        "estimated": "flag",
        "model": "text",
        "tokens_cached": "int",
        "tokens_written": "int",
        "tokens_expected": "int",
    },
    [
        (
            """CREATE TABLE charges (
                id {id} NOT NULL UNIQUE,
                tenant {text} NOT NULL,
                operation {text} NOT NULL,
                subject {text} NOT NULL,
                upstream {text} NOT NULL,
                timestamp {int} NOT NULL,
                status {text} NOT NULL,
                latency {real} NOT NULL,
                layer {text} NOT NULL,
                usd {real},
                tokens_in {int} NOT NULL,
                tokens_out {int} NOT NULL,
                requests {real} NOT NULL,
                estimated {flag} NOT NULL,
                model {text} NOT NULL,
                tokens_cached {int} NOT NULL,
                tokens_written {int} NOT NULL,
                tokens_expected {int} NOT NULL)""",
            "CREATE INDEX charges_by_time ON charges (timestamp DESC)",
        )
    ],
)
COST_SOURCE = Table(
    "cost_source", {"id": "id"}, [("CREATE TABLE cost_source (id {id} NOT NULL UNIQUE)",)]
)
"""The table of the name under which totals of ``charges`` are shared with other machines."""
DEAD_LETTERS = Table(
    "dead_letters",
    {"id": "id", "source": "text", "reason": "text", "timestamp": "int", "content": "text"},
    [
        (
            """CREATE TABLE dead_letters (
                id {id} NOT NULL UNIQUE,
                source {text} NOT NULL,
                reason {text} NOT NULL,
                timestamp {int} NOT NULL,
                content {text} NOT NULL)""",
        )
    ],
)
