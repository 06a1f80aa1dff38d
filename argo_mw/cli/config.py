"""``argo-mw config``: what is wrong with the configuration, and its schema for editors."""

from __future__ import annotations

import asyncio
import sys

import click

from argo_mw.app.trial import Trial, try_out
from argo_mw.cli.output import echo, print_json, say
from argo_mw.cli.run import ExitCode, current_settings
from argo_mw.config.schema import schema_of
from argo_mw.flags.parse import format_rule
from argo_mw.registry import Plugins


@click.group()
def config() -> None:
    """Check the configuration, and describe it to editors."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool) -> None:
    """Build the chains as a start would, and report what is wrong; exit with 1 if anything is.

    No plugin is started and no upstream is asked, so no server and no network is needed.
    """
    settings = current_settings()
    trial = asyncio.run(try_out(settings))
    if as_json:
        print_json({"source": settings.source, **_plain(trial)})
    else:
        _print(settings.source, trial)
    if trial.broken:
        sys.exit(ExitCode.FAILED)


@config.command()
def schema() -> None:
    """Print the JSON Schema of argo.toml, with the tables of the installed plugins.

    With it, an editor for TOML completes and checks the file, if the file's first line names it:
    "#:schema ./argo.schema.json".
    """
    plugins = Plugins.load()
    print_json(schema_of({name: plugins.config_class(name) for name in plugins.names}))


def _print(source: str, trial: Trial) -> None:
    pipeline = trial.pipeline
    chain = "".join(f"{one.name} → " for one in (*pipeline.order.outer, *pipeline.order.inner))
    echo(f"{source}: {'well' if not trial.broken else 'plugins are left out'}")
    echo(f"chain: caller → {chain}upstream")
    echo(f"operations: {', '.join(sorted(pipeline.operations)) or 'none'}")
    echo(f"upstreams: {', '.join(sorted(pipeline.upstreams)) or 'none'}")
    for name, rule in _set_flags(trial).items():
        echo(f"flag {name}: {rule}")
    for one in trial.broken:
        say(f"{one.what}: {one.plugin} at {one.stage}: {one.error}")


def _plain(trial: Trial) -> dict[str, object]:
    pipeline = trial.pipeline
    return {
        "well": not trial.broken,
        "chain": [one.name for one in (*pipeline.order.outer, *pipeline.order.inner)],
        "operations": sorted(pipeline.operations),
        "upstreams": sorted(pipeline.upstreams),
        "flags": _set_flags(trial),
        "broken": [
            {"plugin": one.plugin, "stage": one.stage, "error": one.error} for one in trial.broken
        ],
    }


def _set_flags(trial: Trial) -> dict[str, str]:
    """Return the flags that something sets, with their rules."""
    return {
        name: format_rule(flag.rule)
        for name, flag in trial.pipeline.flags.items()
        if flag.source != "default"
    }
