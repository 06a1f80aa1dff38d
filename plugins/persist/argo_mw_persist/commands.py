"""``argo-mw db``: inspect and maintain the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, cast

import click
from rich.table import Table

from argo_mw.cli import console, current_settings, print_json, say, with_argo
from argo_mw.plugin import (
    Argo,
    TimeOrderedIds,
    collect,
    context_of,
    from_utc,
    iso_time,
    state_directory,
    structure,
)
from argo_mw.store import Undecodable
from argo_mw_persist.application import schema_of, store_of
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.errors import PersistError
from argo_mw_persist.postgres import PostgresSink
from argo_mw_persist.records import Answer
from argo_mw_persist.results import AnswerPage
from argo_mw_persist.schema import Schema
from argo_mw_persist.sink import Sink
from argo_mw_persist.store import MAX_ROWS

P = ParamSpec("P")

_PREVIEW = 60


@click.group()
def db() -> None:
    """Inspect and maintain the database of recorded answers."""


def with_sink(
    function: Callable[Concatenate[Sink, Schema, P], Awaitable[None]],
) -> Callable[P, None]:
    """Run an async command with the configured sink, not opened yet, and its schema."""

    @wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        settings = current_settings()
        table = settings.plugins.get("persist", {})
        config = structure(table, PersistConfig, where=f"{settings.source} [plugins.persist]")
        # The application is not entered, since its startup would migrate the tables.
        argo = Argo.open(settings)
        sink = config.sink(state_directory(settings), collect(argo, "register_sinks"))
        schema = schema_of(collect(argo, "register_tables"))

        async def run() -> None:
            try:
                await function(sink, schema, *args, **kwargs)
            finally:
                await sink.aclose()

        asyncio.run(run())

    return command


@db.command()
@click.argument("operation")
@click.argument("subject", default="")
@click.option("--since", type=click.DateTime(), help="None older than this time, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only older than this time, in UTC.")
@click.option("--tenant", help="Whose answers, beside those that all tenants share.")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_ROWS),
    default=20,
    show_default=True,
    help="Rows at most.",
)
@click.option("--after", help="The place at which an earlier page ended.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the whole answers.")
@with_argo
async def answers(
    argo: Argo,
    operation: str,
    subject: str,
    since: datetime | None,
    until: datetime | None,
    tenant: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """Show recorded answers to OPERATION, about SUBJECT or anything, newest first."""
    page = cast(
        AnswerPage,
        await argo.options(tenant=tenant).call(
            "answers",
            of=operation,
            subject=subject,
            since=from_utc(since),
            until=from_utc(until),
            limit=limit,
            after=after,
        ),
    )
    values = [_value(argo, answer) for answer in page.answers]
    if as_json:
        print_json([_plain(a, value) for a, value in zip(page.answers, values, strict=True)])
    else:
        table = Table("time", "subject", "upstream", "bytes", "answer", box=None)
        for answer, value in zip(page.answers, values, strict=True):
            table.add_row(
                iso_time(answer.timestamp),
                answer.subject,
                answer.upstream or "",
                str(len(answer.value)),
                " ".join(str(value).split())[:_PREVIEW],
            )
        console().print(table)
    if page.next is not None:
        say(f"more: --after {page.next}")


@db.command()
@with_argo
async def prune(argo: Argo) -> None:
    """Delete rows that are older than `[plugins.persist.retention.days]` allows."""
    pruned = await store_of(argo).prune()
    for table, rows in pruned.items():
        say(f"{table}: {rows} rows deleted")
    if not pruned:
        say("everything is kept for ever; see [plugins.persist.retention.days]")


@db.command()
@with_sink
async def check(sink: Sink, schema: Schema) -> None:
    """Check the stored data; exit code 1 when something is wrong."""
    await sink.open(schema, migrate=False)
    problems = await sink.check()
    for problem in problems:
        say(problem)
    if problems:
        msg = f"{sink.place} has {len(problems)} problems; restore a backup, or export what is left"
        raise PersistError(msg)
    say(f"{sink.place} is well")


@db.command()
@with_sink
async def migrate(sink: Sink, schema: Schema) -> None:
    """Bring the tables to the versions of the installed plugins, and into partitions.

    PostgreSQL's tables of which `[plugins.persist.retention.days]` keeps rows for some days are
    divided if `[plugins.persist.postgresql] partitions` says so. A table cannot be used while it
    is, which takes about a second for some million rows.
    """
    await sink.open(schema)
    if isinstance(sink, PostgresSink):
        for line in await sink.divide():
            say(line)
    say(f"{sink.place} is up to date")


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_sink
async def backup(sink: Sink, schema: Schema, file: Path) -> None:
    """Copy the database to FILE while it is in use."""
    await sink.open(schema, migrate=False)
    await sink.backup(file)
    say(f"{sink.place} copied to {file}")


def _value(argo: Argo, answer: Answer) -> object:
    value = answer.decode(context_of(argo).codecs)
    if isinstance(value, Undecodable):
        return f"(cannot be read: {value.reason.value} {value.detail}".rstrip() + ")"
    return value


def _plain(answer: Answer, value: object) -> dict[str, object]:
    return {
        "id": TimeOrderedIds.text(answer.id),
        "time": iso_time(answer.timestamp),
        "operation": answer.operation,
        "subject": answer.subject,
        "upstream": answer.upstream,
        "tenant": answer.tenant,
        "lacks": list(answer.lacks),
        "answer": value,
    }
