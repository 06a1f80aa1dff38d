"""What the plugin registers: gauges, and what the doctor finds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from argo_mw.plugin import ConfigError, Context, Gauge, hookimpl
from argo_mw_gateway.config import GatewayConfig
from argo_mw_gateway.keys import KeyFile, key_file
from argo_mw_gateway.serving import Serving


class GatewayPlugin(Serving):
    """The plugin, one for each application."""

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.gateway]``."""
        return GatewayConfig

    @hookimpl
    def register_gauges(self) -> Iterable[Gauge]:
        """Return gauges of how busy the gateway is."""
        kinds = {"2xx": 2, "3xx": 3, "4xx": 4, "5xx": 5, "left": 0}
        return [
            Gauge(
                "argo_mw.gateway.requests.active",
                lambda: self.in_flight,
                "{request}",
                "Requests of clients that are being answered",
            ),
            Gauge(
                "argo_mw.gateway.connections",
                lambda: self.connections,
                "{connection}",
                "Connections of clients",
            ),
            *(
                Gauge(
                    "argo_mw.gateway.requests.answered",
                    partial(self._answered, hundreds),
                    "{request}",
                    "Requests of clients that were answered since the start",
                    {"status": kind},
                )
                for kind, hundreds in kinds.items()
            ),
        ]

    @hookimpl
    async def diagnose(
        self, config: GatewayConfig, context: Context
    ) -> Iterable[tuple[str, bool, str]]:
        """Report which clients may ask, and where the gateway listens."""
        file = key_file(config, context.state_dir)
        return [
            ("listens", True, _listens(config)),
            await asyncio.to_thread(_clients, config, file, context.clock.time()),
        ]

    def _answered(self, hundreds: int) -> int:
        return sum(n for status, n in list(self.answered.items()) if status // 100 == hundreds)


def _listens(config: GatewayConfig) -> str:
    scheme = "https" if config.encrypted else "http"
    proxied = ", behind a proxy that encrypts" if config.behind_proxy else ""
    return f"`argo-mw gateway` at {scheme}://{config.host}:{config.port}{proxied}"


def _clients(config: GatewayConfig, file: KeyFile, now: float) -> tuple[str, bool, str]:
    try:
        valid = [key for key in file.read().values() if key.is_valid(now)]
    except ConfigError as error:
        return "clients", False, str(error)
    if config.clients == "keys" and not valid:
        found = "none has a key: run `argo-mw gateway keys create NAME` before you use it"
        return "clients", True, found
    who = {"keys": "", "own": ", and clients with keys of their own", "anyone": ", and anyone here"}
    return "clients", True, f"{len(valid)} with valid keys{who[config.clients]}"
