"""``argo-mw cache stats|get|invalidate|clear``."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
from rich.table import Table

from argo_mw.cli import ExitCode, console, print_json, say, with_argo
from argo_mw.plugin import AnyOperation, Argo, BadParameter, Call, context_of
from argo_mw_cache.commands_store import CacheStore, KeptAnswer


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text]


_TYPES: dict[str, Callable[[str], object]] = {"int": int, "float": float, "bool": _bool}


@click.group()
def cache() -> None:
    """Look at kept answers, and discard some.

    These commands read what any instance has kept in the shared store; what they discard is
    discarded from the memory of every instance too.
    """


@cache.command()
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=1_000,
    show_default=True,
    help="Answers to read, for sizes and states.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def stats(argo: Argo, sample: int, as_json: bool) -> None:
    """Count the kept answers, by operation and by state."""
    found = await CacheStore(argo).stats(sample=sample)
    total = sum(found.entries.values())
    if as_json:
        print_json(
            {
                "entries": total,
                "operations": found.entries,
                "looked_at": found.looked_at,
                "bytes": found.bytes,
                "states": found.states,
            }
        )
        return
    table = Table("", "answers", box=None)
    for name, count in sorted(found.entries.items()):
        table.add_row(name, f"{count}")
    table.add_row("all", f"{total}")
    console().print(table)
    states = ", ".join(f"{count} {state}" for state, count in sorted(found.states.items()))
    console().print(f"of {found.looked_at} read: {states or 'none'}; {found.bytes} bytes")


@cache.command()
@click.argument("operation")
@click.argument("subjects", nargs=-1, metavar="[SUBJECT]…")
@click.option("-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="A further parameter.")
@click.option("--tenant", help="The tenant to ask for; by default the configured one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def get(
    argo: Argo,
    operation: str,
    subjects: tuple[str, ...],
    parameter: tuple[str, ...],
    tenant: str | None,
    as_json: bool,
) -> None:
    """Show what is kept for OPERATION on each SUBJECT. No upstream is asked.

    Exit codes: 1 nothing is kept for any SUBJECT; 3 something is kept for some of them only.
    """
    store = CacheStore(argo)
    calls = _calls(argo, operation, subjects, parameter, tenant or argo.settings.argo.tenant)
    found = [(call, await store.look(call)) for call in calls]
    now = context_of(argo).clock.time()
    rows = [_row(call, kept, now) for call, kept in found]
    if as_json:
        print_json(rows)
    else:
        console().print(_table(rows))
    useful = sum(kept.is_useful for _, kept in found)
    if useful < len(found):
        say(f"nothing is kept for {len(found) - useful} of {len(found)}")
        sys.exit(ExitCode.PARTLY if useful else ExitCode.FAILED)


@cache.command()
@click.argument("tags", nargs=-1, metavar="[TAG]…")
@click.option("--subject", "subjects", multiple=True, help="All answers about it.")
@click.option("--operation", "operations", multiple=True, help="All answers to it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def invalidate(
    argo: Argo,
    tags: tuple[str, ...],
    subjects: tuple[str, ...],
    operations: tuple[str, ...],
    as_json: bool,
) -> None:
    """Discard the answers with any TAG (subject:AAPL, op:bars), in every instance."""
    every = [*tags, *(f"subject:{s}" for s in subjects), *(f"op:{o}" for o in operations)]
    if not every:
        msg = "name a tag, a --subject or an --operation; `argo-mw cache clear` is for everything"
        raise click.UsageError(msg)
    for tag in tags:
        if ":" not in tag:
            say(f"{tag!r} names no kind of thing: did you mean subject:{tag}?")
    await CacheStore(argo).invalidate(every)
    if as_json:
        print_json({"invalidated": every})
    else:
        say(f"invalidated: {', '.join(every)}")


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def clear(argo: Argo, as_json: bool) -> None:
    """Discard all answers, in the store and in the memory of every instance."""
    removed = await CacheStore(argo).clear()
    if as_json:
        print_json({"removed": removed})
    else:
        say(f"{removed} answers removed from the shared store; no instance serves one from memory")


def _calls(
    argo: Argo,
    operation: str,
    subjects: tuple[str, ...],
    parameter: tuple[str, ...],
    tenant: str,
) -> list[Call]:
    """Return the calls that ask for these, checked and normalised as any other call."""
    context = context_of(argo)
    known = context.operation(operation)
    more = dict(_typed(known, text) for text in parameter)
    if not known.subject and subjects:
        msg = f"{operation} has no subject: it is {operation}{known.signature}"
        raise BadParameter(msg)
    each = [{known.subject: subject} for subject in subjects] or [{}]
    return [context.make_call(operation, tenant, {**more, **one}) for one in each]


def _typed(operation: AnyOperation, text: str) -> tuple[str, object]:
    """Return a parameter's name and its value, a number where the operation declares one."""
    name, equals, value = text.partition("=")
    if not equals:
        msg = f"{text!r} is not of the form NAME=VALUE"
        raise click.UsageError(msg)
    parameter = operation.signature.parameters.get(name)
    declared = parameter.annotation if parameter is not None else str
    kind = declared if isinstance(declared, str) else getattr(declared, "__name__", "")
    try:
        return name, _TYPES.get(kind, str)(value)
    except (ValueError, KeyError):
        msg = f"{operation.name} takes {name} as {kind}, and {value!r} is none"
        raise BadParameter(msg) from None


def _row(call: Call, kept: KeptAnswer, now: float) -> dict[str, object]:
    outcome = kept.outcome
    row: dict[str, object] = {
        "operation": call.operation.name,
        "subject": call.subject,
        "state": kept.state,
        "bytes": kept.size,
    }
    if outcome is None:
        return {**row, "detail": kept.detail} if kept.detail else row
    assert outcome.expires_at is not None
    return {
        **row,
        "age": None if outcome.as_of is None else round(outcome.age(now), 3),
        "expires_in": round(outcome.expires_at - now, 3),
        "upstream": outcome.upstream,
        "tags": sorted(outcome.tags | call.tags),
    }


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table("subject", "state", "age", "expires in", "bytes", "upstream", "tags", box=None)
    for row in rows:
        tags = row.get("tags")
        table.add_row(
            str(row["subject"]),
            f"{row['state']} {row.get('detail', '')}".strip(),
            _seconds(row.get("age")),
            _seconds(row.get("expires_in")),
            str(row["bytes"]),
            str(row.get("upstream") or ""),
            ", ".join(tags) if isinstance(tags, list) else "",
        )
    return table


def _seconds(value: object) -> str:
    return f"{value:.1f} s" if isinstance(value, float) else ""
