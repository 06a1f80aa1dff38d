"""``argo-mw gateway``: run it, list its routes, and manage its clients' keys."""

from __future__ import annotations

import asyncio

import click
from attrs import evolve
from rich.table import Table

from argo_mw.cli import console, current_settings, print_json, say, with_argo
from argo_mw.plugin import Argo, ConfigError, Settings, config_of, freeze_heap
from argo_mw_gateway.config import GatewayConfig
from argo_mw_gateway.key_commands import keys


@click.group(invoke_without_command=True)
@click.option("--host", help="The address to listen on, in place of the configured one.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 takes a free one.")
@click.pass_context
def gateway(context: click.Context, host: str | None, port: int | None) -> None:
    """Answer programs of any language over HTTP, until SIGTERM or SIGINT.

    Without a command the gateway runs. A signal stops it once pending answers are completed; a
    second signal stops it at once.
    """
    if context.invoked_subcommand is None:
        asyncio.run(_run(current_settings(), host, port))


async def _run(settings: Settings, host: str | None, port: int | None) -> None:
    """Run the gateway with an application of its own, opened as a program opens it."""
    from argo_mw_gateway import server
    from argo_mw_gateway.app import Gateway
    from argo_mw_gateway.open_files import allow_files

    def greet(url: str) -> None:
        # This process runs nothing else, and every garbage collection holds up all requests.
        freeze_heap()
        say(f"argo-mw: the gateway listens at {url}")

    async with Argo.open(settings) as argo:
        config = _listening(config_of(argo, GatewayConfig), host, port)
        allow_files(config.max_connections)
        await server.serve(Gateway(argo), config, greet)


@gateway.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def routes(argo: Argo, as_json: bool) -> None:
    """List the paths that are answered, and what answers each."""
    from argo_mw_gateway.app import Gateway

    rows = [
        {
            "path": route.endpoint.path,
            "methods": sorted(route.endpoint.methods),
            "plugin": route.plugin,
            "what": route.endpoint.doc,
        }
        for route in Gateway(argo).routes.all
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("path", "methods", "plugin", "", box=None, pad_edge=False)
    for row in rows:
        methods = ", ".join(row["methods"]) or "all"
        table.add_row(str(row["path"]), methods, str(row["plugin"]), str(row["what"]))
    console().print(table)


gateway.add_command(keys)


def _listening(config: GatewayConfig, host: str | None, port: int | None) -> GatewayConfig:
    """Return *config* with *host* and *port*, if they are given.

    Raises:
        ConfigError: They do not fit the rest of the configuration.
    """
    host, port = host or config.host, config.port if port is None else port
    try:
        return evolve(config, host=host, port=port)
    except ValueError as error:
        msg = f"the gateway cannot listen at {host}:{port}: {error}"
        raise ConfigError(msg) from None
