"""The schema: the tables in use, migrated to this code's versions when a sink is opened.

Each table has a version of its own, kept in the table ``argo_tables``, since the plugins that
declare tables are installed and upgraded separately. Migrations go forward only, in one
transaction.
"""

# The names and versions are those of declared tables, which are checked.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from argo_mw.plugin import ConfigError, suggest
from argo_mw_persist.errors import SchemaError
from argo_mw_persist.tables import ANSWERS, CHARGES, COST_SOURCE, DEAD_LETTERS, Dialect, Table

VERSION_TABLE = "argo_tables"
CREATE_VERSION_TABLE = f"CREATE TABLE {VERSION_TABLE} (name TEXT NOT NULL, version INTEGER)"
READ_VERSIONS = f"SELECT name, version FROM {VERSION_TABLE}"


class Schema:
    """The tables that a sink keeps.

    Args:
        tables: This plugin's tables and those that other plugins declare.

    Raises:
        ConfigError: Two of them have the same name.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables: dict[str, Table] = {}
        for table in tables:
            if table.name in self._tables:
                msg = f"the table {table.name!r} is declared twice; each needs a name of its own"
                raise ConfigError(msg)
            self._tables[table.name] = table

    def __iter__(self) -> Iterator[Table]:
        return iter(self._tables.values())

    def __getitem__(self, name: str) -> Table:
        """Return the table called *name*.

        Raises:
            ConfigError: No plugin declares it.
        """
        self.check(name)
        return self._tables[name]

    def check(self, name: str) -> None:
        """Raise ConfigError unless a plugin declares a table called *name*."""
        if name not in self._tables:
            msg = f"no installed plugin declares the table {name!r}: {suggest(name, self._tables)}"
            raise ConfigError(msg)

    def pending(
        self,
        dialect: Dialect,
        versions: Mapping[str, int] | None,
        existing: Collection[str],
        *,
        migrate: bool,
        where: str,
    ) -> list[str]:
        """Return the statements that migrate a database to this code's versions.

        Args:
            dialect: The SQL dialect of the database.
            versions: The version of each table in it, or ``None`` if it was never used.
            existing: The names of all tables that it has.
            migrate: Whether older tables may be changed.
            where: The database, for error messages.

        Raises:
            SchemaError: A table is newer than the code, not ours, or old and not to be migrated.
        """
        statements = [CREATE_VERSION_TABLE] if versions is None else []
        for table in self:
            found = (versions or {}).get(table.name, 0)
            _check(table, found, table.name in existing, migrate=migrate, where=where)
            if found == table.version:
                continue
            statements += table.statements(dialect, found)
            statements.append(
                f"UPDATE {VERSION_TABLE} SET version = {table.version} WHERE name = '{table.name}'"
                if found
                else f"INSERT INTO {VERSION_TABLE} VALUES ('{table.name}', {table.version})"
            )
        return statements


def _check(table: Table, found: int, exists: bool, *, migrate: bool, where: str) -> None:
    if not found and exists:
        msg = (
            f"{where} has a table {table.name!r} that is not ours; keep it, and point "
            "[plugins.persist] url at a new database"
        )
        raise SchemaError(msg)
    if found > table.version:
        msg = (
            f"{where} has version {found} of the table {table.name!r} and this code knows "
            f"{table.version}; upgrade the plugin that declares it"
        )
        raise SchemaError(msg)
    if 0 < found < table.version and not migrate:
        msg = (
            f"{where} has version {found} of {table.version} of the table {table.name!r}; "
            "run: argo-mw db migrate"
        )
        raise SchemaError(msg)


OWN_TABLES = (ANSWERS, CHARGES, COST_SOURCE, DEAD_LETTERS)
OWN_SCHEMA = Schema(OWN_TABLES)
"""The tables of this plugin alone."""
