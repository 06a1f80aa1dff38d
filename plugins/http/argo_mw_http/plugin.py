"""The plugin: what it registers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from argo_mw.plugin import (
    AnyOperation,
    Codecs,
    Context,
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


class HttpPlugin:
    """The plugin, one for each application.

    Attributes:
        config: The configuration in use.
        passed: How many requests went straight through.
    """

    def __init__(self) -> None:
        self.config = HttpConfig()
        self.passed = Passed()

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
            Api(name, routes, context, validated).upstream() for name, routes in config.apis.items()
        ]

    @hookimpl
    def register_gauges(self) -> Iterable[Gauge]:
        """How many requests went straight through."""
        return [
            Gauge(
                "argo.http.passed",
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
    async def diagnose(self, config: HttpConfig) -> Iterable[tuple[str, bool, str]]:
        """Say how many routes each service has."""
        return [
            (f"upstream {name}", True, f"{len(routes)} routes of {routes[0].host}")
            for name, routes in config.apis.items()
        ]
