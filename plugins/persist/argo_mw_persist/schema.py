"""The schema as a list of migrations: forward only, one transaction each, checked at open."""

# The version is this package's own number.
# ruff: noqa: S608

from __future__ import annotations

from typing import Literal

from argo_mw_persist.errors import SchemaError

Dialect = Literal["sqlite", "postgresql"]

TYPES: dict[Dialect, dict[str, str]] = {
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

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE signals (
            id {id} NOT NULL UNIQUE,
            tenant {text} NOT NULL,
            symbol {text} NOT NULL,
            action {text} NOT NULL,
            confidence {real} NOT NULL,
            timestamp {int} NOT NULL,
            price {real},
            upstream {text},
            outcome {text},
            is_active {flag} NOT NULL,
            exit_price {real},
            profit {real},
            exit_timestamp {int},
            voices {text},
            detail {text})""",
        # The tenant stands last in each index: it is looked at there, without a visit to the
        # table, and the order of the plan's columns stays useful.
        """CREATE INDEX signals_by_symbol
            ON signals (symbol, timestamp DESC, confidence DESC, tenant)""",
        """CREATE INDEX signals_by_time
            ON signals (timestamp DESC, outcome, is_active, tenant)""",
        """CREATE INDEX signals_by_confidence
            ON signals (symbol, is_active, confidence DESC, tenant)""",
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
        """CREATE TABLE charges (
            id {id} NOT NULL UNIQUE,
            tenant {text} NOT NULL,
            operation {text} NOT NULL,
            subject {text} NOT NULL,
            upstream {text} NOT NULL,
            timestamp {int} NOT NULL,
            status {text} NOT NULL,
            latency {real} NOT NULL,
            usd {real},
            tokens_in {int} NOT NULL,
            tokens_out {int} NOT NULL,
            requests {real} NOT NULL,
            estimated {flag} NOT NULL)""",
        "CREATE INDEX charges_by_time ON charges (timestamp DESC)",
        """CREATE TABLE dead_letters (
            id {id} NOT NULL UNIQUE,
            source {text} NOT NULL,
            reason {text} NOT NULL,
            timestamp {int} NOT NULL,
            content {text} NOT NULL)""",
    ),
    ("CREATE INDEX answers_by_time ON answers (operation, timestamp DESC)",),
)

VERSION = len(MIGRATIONS)
VERSION_TABLE = "argo_schema"


def statements(dialect: Dialect, since: int) -> list[str]:
    """What brings tables of version *since* to this code's, in order, the version included."""
    types = TYPES[dialect]
    pending = [text.format(**types) for step in MIGRATIONS[since:] for text in step]
    if since == 0:
        pending.insert(0, f"CREATE TABLE {VERSION_TABLE} (version INTEGER NOT NULL)")
        pending.insert(1, f"INSERT INTO {VERSION_TABLE} VALUES (0)")
    return [*pending, f"UPDATE {VERSION_TABLE} SET version = {VERSION}"]


def check(found: int | None, *, foreign: bool, migrate: bool, where: str) -> int:
    """The version to migrate from, which is :data:`VERSION` when there is nothing to do.

    Args:
        found: The version in the database, or ``None`` when it has never been used.
        foreign: Whether a table ``signals`` exists that is not ours.
        migrate: Whether older tables may be changed.
        where: The database, for errors.

    Raises:
        SchemaError: The tables are newer than the code, not ours, or old and not to be changed.
    """
    if found is None and foreign:
        msg = (
            f"{where} has a table 'signals' that is not ours; keep it, point [plugins.persist] url "
            "at a new database, and bring its rows over with: argo-mw db import FILE"
        )
        raise SchemaError(msg)
    if found is None:
        return 0
    if found > VERSION:
        msg = (
            f"{where} has schema version {found} and this code knows {VERSION}; "
            "upgrade argo-mw-persist"
        )
        raise SchemaError(msg)
    if found < VERSION and not migrate:
        msg = f"{where} has schema version {found} of {VERSION}; run: argo-mw db migrate"
        raise SchemaError(msg)
    return found
