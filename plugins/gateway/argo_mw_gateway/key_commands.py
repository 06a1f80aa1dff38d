"""``argo-mw gateway keys``: create, list and revoke the keys of clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, cast

import click
from attrs import asdict, evolve
from rich.table import Table

from argo_mw.cli import ExitCode, console, current_settings, echo, print_json, say
from argo_mw.plugin import BadParameter, ConfigError, seconds, state_directory, structure
from argo_mw_gateway.config import GatewayConfig
from argo_mw_gateway.keys import ClientKey, KeyFile, key_file, make_key

Change = Callable[[Mapping[str, ClientKey]], Sequence[ClientKey]]


@click.group()
def keys() -> None:
    """Create, list and revoke the keys of the gateway's clients."""


@keys.command()
@click.argument("name")
@click.option("--tenant", default="", help="The tenant that its requests are for.")
@click.option(
    "--operation",
    "operations",
    multiple=True,
    metavar="PATTERN",
    help="An operation that it may ask, such as 'claude*'; repeatable; by default all.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="PATTERN",
    help="A model that it may ask, such as 'claude-haiku-*'; repeatable; by default all.",
)
@click.option("--usd", type=click.FloatRange(0), help="What its requests may cost in each period.")
@click.option(
    "--per",
    type=click.Choice(["day", "month", "ever"]),
    default="month",
    show_default=True,
    help="The period of --usd.",
)
@click.option(
    "--pass-through/--no-pass-through",
    default=None,
    help="Whether it may send what the gateway passes on unread, such as files and batches, which "
    "tenants share at the provider; by default only without --tenant and --model.",
)
@click.option("--expires", metavar="DURATION", help="How long it is valid, such as 90d.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(
    name: str,
    tenant: str,
    operations: tuple[str, ...],
    models: tuple[str, ...],
    usd: float | None,
    per: str,
    pass_through: bool | None,
    expires: str | None,
    as_json: bool,
) -> None:
    """Create a key called NAME, and print it: it cannot be shown again."""
    now = time.time()
    key, kept = make_key(
        ClientKey(
            id="",
            name=name,
            digest="",
            created=now,
            tenant=tenant,
            operations=operations,
            models=models,
            usd=usd,
            per=cast("Literal['day', 'month', 'ever']", per),
            unread=(not tenant and not models) if pass_through is None else pass_through,
            expires=None if expires is None else now + _duration(expires),
        )
    )

    def added(known: Mapping[str, ClientKey]) -> Sequence[ClientKey]:
        if any(other.name == name and other.is_valid(now) for other in known.values()):
            msg = f"there is a key called {name!r}: revoke it first, or choose another name"
            raise ConfigError(msg)
        return [*known.values(), kept]

    _change(added)
    if as_json:
        print_json({"id": kept.id, "name": name, "key": key})
        return
    echo(key)
    say(f"argo-mw: this is the key {name!r}, shown this once; its id is {kept.id}")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the keys, and what each allows."""
    now = time.time()
    known = sorted(_file().read().values(), key=lambda key: key.created)
    if as_json:
        shown = [{**asdict(key), "state": key.state(now)} for key in known]
        print_json([{n: v for n, v in one.items() if n != "digest"} for one in shown])
        return
    table = Table(
        *("id", "name", "", "tenant", "operations", "models", "budget", "made"),
        box=None,
        pad_edge=False,
    )
    for key in known:
        made = datetime.fromtimestamp(key.created, UTC)
        table.add_row(
            key.id,
            key.name,
            key.state(now),
            key.tenant or "the configured one",
            _all_or(key.operations),
            _all_or(key.models),
            "" if key.usd is None else f"${key.usd:g} per {key.per}",
            f"{made:%Y-%m-%d}",
        )
    console().print(table)


@keys.command()
@click.argument("key")
def revoke(key: str) -> None:
    """Revoke the key whose id or name is KEY; running gateways know within a second."""
    now = time.time()
    revoked: list[ClientKey] = []

    def without(known: Mapping[str, ClientKey]) -> Sequence[ClientKey]:
        named = (one for one in known.values() if key in (one.id, one.name))
        revoked.extend(one for one in named if one.revoked is None)
        return [evolve(one, revoked=now) if one in revoked else one for one in known.values()]

    _change(without)
    if not revoked:
        say(f"argo-mw: no key that opens has the id or name {key!r}")
        raise click.exceptions.Exit(ExitCode.FAILED)
    for one in revoked:
        say(f"argo-mw: revoked {one.id} ({one.name})")


def _file() -> KeyFile:
    settings = current_settings()
    where = f"{settings.source} [plugins.gateway]"
    config = structure(settings.plugins.get("gateway", {}), GatewayConfig, where=where)
    return key_file(config, state_directory(settings))


def _change(change: Change) -> None:
    file = _file()
    try:
        file.change(change)
    except OSError as error:
        msg = f"the keys in {file.path} cannot be changed: {error.strerror or error}"
        raise ConfigError(msg) from error


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except BadParameter as error:
        raise click.BadParameter(str(error), param_hint="--expires") from error


def _all_or(patterns: Sequence[str]) -> str:
    return ", ".join(patterns) or "all"
