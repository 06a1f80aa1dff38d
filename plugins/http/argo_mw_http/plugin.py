"""The plugin: what it registers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from argo_mw.plugin import (
    AnyOperation,
    Codecs,
    Context,
    Endpoint,
    Gauge,
    Upstream,
    hookimpl,
)
from argo_mw_http.answers import HttpAnswer, NotShared
from argo_mw_http.config import SAFE, HttpConfig, Route
from argo_mw_http.identity import HttpRequest
from argo_mw_http.operations import operations
from argo_mw_http.passed import Passed
from argo_mw_http.routes import Match
from argo_mw_http.upstream import Api
from argo_mw_http.validated import Validated

if TYPE_CHECKING:
    from argo_mw_http.relay import Relay


class HttpPlugin:
    """The plugin, one for each application.

    Attributes:
        config: The configuration in use.
        passed: How many requests went straight through.
    """

    def __init__(self) -> None:
        self.config = HttpConfig()
        self.passed = Passed()
        self._relay: Relay | None = None

    def match(self, request: HttpRequest) -> Match[Route] | None:
        """Return the route of *request*; without one it is counted as passed."""
        found = self.config.table.match(request.method, request.host, request.port, request.path)
        if found is None:
            self.passed.count(request.host)
        return found

    def changed_by(self, request: HttpRequest, match: Match[Route] | None) -> Sequence[str]:
        """Return the tags of the answers that *request*, which *match* is for, may change."""
        if request.method in SAFE or (match is not None and match.route.is_shared):
            return ()
        routes = self.config.table.read_at(request.host, request.port, request.path)
        return [f"op:{route.operation}" for route in routes]

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.http]``."""
        return HttpConfig

    @hookimpl
    def register_codecs(self, codecs: Codecs) -> None:
        """Let answers be kept in shared stores."""
        codecs.register_fields(HttpAnswer, "http.answer")
        codecs.register_fields(NotShared, "http.not_shared")

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        """The kinds of data that routes may name without another plugin."""
        return ("market_data", "sentiment")

    @hookimpl
    def register_operations(self, config: HttpConfig) -> Iterable[AnyOperation]:
        """One for each route."""
        return operations(config)

    @hookimpl
    def register_upstreams(self, config: HttpConfig, context: Context) -> Iterable[Upstream]:
        """One for each service."""
        validated = Validated(context, config.max_validated_bytes)
        return [
            Api(name, routes, context, validated).upstream()
            for name, routes in config.by_api.items()
        ]

    @hookimpl
    def register_endpoints(self, config: HttpConfig, context: Context) -> Iterable[Endpoint]:
        """The routes of each service, for programs that come through a gateway."""
        from argo_mw_http.endpoints import Endpoints
        from argo_mw_http.relay import Relay

        if self._relay is None:
            self._relay = Relay()

        async def changed(request: HttpRequest, match: Match[Route]) -> None:
            if tags := self.changed_by(request, match):
                await context.invalidate(tags)

        return list(Endpoints(config, context, self._relay, changed))

    @hookimpl
    def register_gauges(self) -> Iterable[Gauge]:
        """How many requests went straight through."""
        return [
            Gauge(
                "argo_mw.http.passed",
                lambda: self.passed.total,
                "{request}",
                "Requests that belong to no route",
            )
        ]

    @hookimpl
    async def startup(self, config: HttpConfig) -> None:
        """Send the requests of the configured routes through the chain from now on."""
        self.config = config

    @hookimpl
    async def config_changed(self, config: HttpConfig) -> None:
        """See :meth:`startup`."""
        self.config = config

    @hookimpl
    async def shutdown(self) -> None:
        """Close the connections of what came through a gateway."""
        if self._relay is not None:
            await self._relay.aclose()

    @hookimpl
    async def diagnose(self, config: HttpConfig) -> Iterable[tuple[str, bool, str]]:
        """Say how many routes each service has."""
        return [
            (f"upstream {name}", True, f"routes of {routes[0].host}: {len(routes)}")
            for name, routes in config.by_api.items()
        ]
