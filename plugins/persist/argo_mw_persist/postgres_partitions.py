"""Partitions of PostgreSQL's tables: find, make and drop them, and divide a whole table.

The catalog is the truth, so that instances with different configurations agree. There is no default
partition: PostgreSQL would lock and search it for each new partition, and refuse to make one whose
rows are already in it.
"""

# Names are those of declared tables and of the catalog; borders are UUIDs.
# ruff: noqa: S608

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Sequence
from itertools import count
from typing import cast

import asyncpg  # type: ignore[import-untyped]
from attrs import frozen

from argo_mw_persist.errors import SchemaError, SinkUnavailable
from argo_mw_persist.partitions import Partition, Slots
from argo_mw_persist.postgres_connection import Connection
from argo_mw_persist.tables import Cells, Table

LOCK = 0x6172676F  # "argo"; any number that all of our processes share
_DROP_LOCK = LOCK + 1
_MOVED = "argo_moved"
# Shorter than the server's deadlock_timeout; others may have to queue behind us for that long.
_SHORT = "SET LOCAL lock_timeout = '500ms'"
_PATIENT = "SET LOCAL lock_timeout = '5s'"

_FOUND = """
SELECT p.relnamespace::regnamespace::text, c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid)
FROM pg_partitioned_table t
JOIN pg_class p ON p.oid = t.partrelid
LEFT JOIN pg_inherits i ON i.inhparent = p.oid
LEFT JOIN pg_class c ON c.oid = i.inhrelid
WHERE p.oid = to_regclass($1) AND pg_get_partkeydef(p.oid) = 'RANGE (id)'
"""
_BOUND = re.compile(r"FOR VALUES FROM \((MINVALUE|'[^']+')\) TO \((MAXVALUE|'[^']+')\)")
_PLAIN = """
SELECT oid, relnamespace::regnamespace::text, quote_ident(pg_get_userbyid(relowner))
FROM pg_class WHERE oid = to_regclass($1)
"""
_OBSTACLES = """
SELECT 'a trigger' FROM pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal
UNION SELECT 'a foreign key' FROM pg_constraint
    WHERE contype = 'f' AND (conrelid = $1::oid OR confrelid = $1::oid)
UNION SELECT 'an exclusion constraint' FROM pg_constraint
    WHERE contype = 'x' AND conrelid = $1::oid
UNION SELECT 'a unique index without id' FROM pg_index WHERE indrelid = $1::oid AND indisunique
    AND NOT (SELECT attnum FROM pg_attribute WHERE attrelid = $1::oid AND attname = 'id')
        = ANY (indkey)
UNION SELECT 'an index that is not valid' FROM pg_index
    WHERE indrelid = $1::oid AND NOT indisvalid
UNION SELECT 'a view' FROM pg_depend
    WHERE classid = 'pg_rewrite'::regclass
        AND refclassid = 'pg_class'::regclass AND refobjid = $1::oid
UNION SELECT 'a policy' FROM pg_policy WHERE polrelid = $1::oid
UNION SELECT 'a publication' FROM pg_publication_rel WHERE prrelid = $1::oid
UNION SELECT 'an identity column' FROM pg_attribute
    WHERE attrelid = $1::oid AND attidentity <> ''
UNION SELECT 'a kinship with another table' FROM pg_inherits
    WHERE inhparent = $1::oid OR inhrelid = $1::oid
UNION SELECT 'partitions of its own' FROM pg_partitioned_table WHERE partrelid = $1::oid
"""
_INDEXES = """
SELECT quote_ident(c.relname), pg_get_indexdef(c.oid), pg_get_constraintdef(o.oid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_constraint o ON o.conindid = c.oid AND o.contype IN ('u', 'p')
WHERE i.indrelid = $1::oid ORDER BY 1
"""
_GRANTS = """
SELECT privilege_type,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
FROM pg_class, aclexplode(relacl) WHERE oid = $1::oid AND grantee <> relowner
"""


@frozen
class Divided:
    """A divided table, as the catalog describes it.

    Attributes:
        schema: Its schema.
        partitions: Its partitions by ranges of identifiers.
    """

    schema: str
    partitions: Sequence[Partition]


def lacks_partition(error: asyncpg.CheckViolationError) -> bool:
    """Return whether *error* means that there is no partition for a row."""
    return getattr(error, "constraint_name", None) is None


async def divided(connection: Connection, table: Table) -> Divided | None:
    """Return how *table* is divided by identifiers, or ``None`` if it is not."""
    found = await connection.fetch(_FOUND, table.name)
    if not found:
        return None
    bounds = ((str(name), _BOUND.match(str(bound))) for _, name, bound in found)
    partitions = [
        Partition(name, _identifier(match[1]), _identifier(match[2]))
        for name, match in bounds
        if match
    ]
    return Divided(str(found[0][0]), sorted(partitions, key=lambda one: one.start or b""))


async def make_room(
    connection: Connection, table: Table, identifiers: Iterable[bytes], slots: Slots
) -> None:
    """Make the missing partitions for rows with *identifiers*, and those for the near future.

    The table can be read and written meanwhile. Does nothing if the table is not divided.

    Args:
        connection: Not in a transaction.
        table: The table.
        identifiers: Of rows to be written.
        slots: How time is divided.

    Raises:
        SinkUnavailable: The table, or the rights of its user, must be changed first.
    """
    try:
        async with connection.transaction():
            await connection.execute(_SHORT)
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            await _fill(connection, table, [*identifiers, *slots.ahead()], slots)
    except asyncpg.InsufficientPrivilegeError as error:
        needed = f"its user must own {table.name}, and may create tables in the schema"
        msg = f"no partition of {table.name} can be made ({error}): {needed}"
        raise SinkUnavailable(msg) from error
    except asyncpg.CheckViolationError as error:
        remedy = "move its rows into partitions of their own, and drop it"
        msg = f"no partition of {table.name} can be made beside its default one ({error}): {remedy}"
        raise SinkUnavailable(msg) from error


async def _fill(
    connection: Connection, table: Table, identifiers: Collection[bytes], slots: Slots
) -> None:
    found = await divided(connection, table)
    if found is None:
        return
    parent = f"{found.schema}.{table.name}"
    for start, end in slots.missing(identifiers, found.partitions):
        name = await _free_name(connection, found.schema, table, start)
        # Attaching a table, unlike creating a partition, does not wait for readers and writers.
        await connection.execute(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)")
        await connection.execute(_attach(parent, name, start, end))


async def drop(
    connection: Connection, table: Table, partition: Partition
) -> Sequence[Cells] | None:
    """Drop *partition*; return what its rows were, or ``None`` if it is in use.

    Args:
        connection: Not in a transaction.
        table: Its table.
        partition: A partition that the table has, or had.

    Returns:
        For each combination of the table's ``tag_columns``, the number of rows, then the cells.
    """
    columns = "".join(f", {name}" for name in table.tag_columns)
    grouped = f" GROUP BY {', '.join(table.tag_columns)}" if table.tag_columns else ""
    try:
        async with connection.transaction():
            await connection.execute(_SHORT)
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _DROP_LOCK):
                return None
            found = await divided(connection, table)
            if found is None or partition not in found.partitions:
                return ()
            # No row may be added or changed between the count and the drop.
            await connection.execute(f"LOCK TABLE {partition.name} IN SHARE MODE")
            rows = await connection.fetch(
                f"SELECT count(*){columns} FROM {partition.name}{grouped}"
            )
            await connection.execute(f"DROP TABLE {partition.name}")
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return None
    return [tuple(row) for row in rows if row[0]]


async def divide(connection: Connection, table: Table, slots: Slots) -> bool:
    """Divide *table*, with its present rows as the first partition.

    Takes one transaction, during which the table cannot be read or written: PostgreSQL reads all of
    it once to check that the rows belong to that partition.

    Returns:
        Whether it was divided; ``False`` if it had been before.

    Raises:
        SchemaError: It has something, such as a trigger, that new partitions would not have.
    """
    async with connection.transaction():
        await connection.execute(_PATIENT)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if await divided(connection, table) is not None:
            return False
        [(oid, *names)] = await connection.fetch(_PLAIN, table.name)
        schema, owner = map(str, names)
        parent = f"{schema}.{table.name}"
        first = await _free_name(connection, schema, table, None)
        await connection.execute(f"LOCK TABLE {parent} IN ACCESS EXCLUSIVE MODE")
        obstacles = await connection.fetch(_OBSTACLES, oid)
        if obstacles:
            these = ", ".join(sorted(str(what) for (what,) in obstacles))
            msg = f"it has {these}, which new partitions would not have"
            raise SchemaError(msg)
        end = slots.end()
        held = f"SELECT EXISTS (SELECT 1 FROM {parent} WHERE id < {_literal(end)})"
        holds_any = await connection.fetchval(held)
        later = f"SELECT id FROM {parent} WHERE id >= {_literal(end)}"
        ahead = [cast("bytes", row[0]) for row in await connection.fetch(later)]
        for statement in [
            # Rows of later slots are moved: a single wrongly dated row must not extend the first
            # partition into the future.
            f"CREATE TEMPORARY TABLE {_MOVED} (LIKE {parent}) ON COMMIT DROP",
            f"INSERT INTO {_MOVED} SELECT * FROM {parent} WHERE id >= {_literal(end)}",
            f"DELETE FROM {parent} WHERE id >= {_literal(end)}",
            *await _turned(connection, oid, parent, first),
            f"ALTER TABLE {parent} OWNER TO {owner}",
            _attach(parent, first, None, end) if holds_any else f"DROP TABLE {first}",
        ]:
            await connection.execute(statement)
        await _fill(connection, table, [*ahead, *slots.ahead()], slots)
        await connection.execute(f"INSERT INTO {parent} SELECT * FROM {_MOVED}")
        await connection.execute(f"DROP TABLE {_MOVED}")
    return True


async def _turned(connection: Connection, oid: object, parent: str, first: str) -> list[str]:
    """Return statements that rename the table to *first*, and make an empty copy of it."""
    schema, name = first.rsplit(".", 1)
    renamed, made = [], []
    for number, row in enumerate(await connection.fetch(_INDEXES, oid)):
        index, definition = str(row[0]), str(row[1])
        renamed.append(f"ALTER INDEX {schema}.{index} RENAME TO {_shortened(name, f'_{number}')}")
        # With their old names, which later migrations use.
        constraint = f"ALTER TABLE {parent} ADD CONSTRAINT {index} {row[2]!s}"
        made.append(definition if row[2] is None else constraint)
    likeness = f"LIKE {first} INCLUDING ALL EXCLUDING INDEXES"
    return [
        *renamed,
        f"ALTER TABLE {parent} RENAME TO {name}",
        f"CREATE TABLE {parent} ({likeness}) PARTITION BY RANGE (id)",
        *made,
        *[
            f"GRANT {right!s} ON {parent} TO {role!s}"
            for right, role in await connection.fetch(_GRANTS, oid)
        ],
    ]


def _attach(parent: str, name: str, start: bytes | None, end: bytes | None) -> str:
    since = _literal(start) if start is not None else "MINVALUE"
    until = _literal(end) if end is not None else "MAXVALUE"
    return f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ({until})"


def _literal(identifier: bytes) -> str:
    return f"'{uuid.UUID(bytes=identifier)}'"


async def _free_name(connection: Connection, schema: str, table: Table, start: bytes | None) -> str:
    """Return a free name for the partition that begins at *start*: its time in milliseconds.

    A number follows if that name is taken, as by a partition that was detached to be kept.
    """
    milliseconds = int.from_bytes(start, "big") >> 80 if start is not None else "old"
    for number in count():
        end = f"_p{milliseconds}" + (f"_{number}" if number else "")
        name = f"{schema}.{_shortened(table.name, end)}"
        if await connection.fetchval("SELECT to_regclass($1) IS NULL", name):
            break
    return name


def _shortened(name: str, end: str) -> str:
    # PostgreSQL allows 63 bytes for a name, and derives the names of indexes from it.
    return f"{name[: 63 - len(end)]}{end}"


def _identifier(bound: str) -> bytes | None:
    return uuid.UUID(bound.strip("'")).bytes if bound.startswith("'") else None
