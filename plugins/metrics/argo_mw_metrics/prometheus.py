"""Prometheus: metrics at ``http://127.0.0.1:PORT/metrics``, by the official libraries."""

from __future__ import annotations

import threading
from wsgiref.simple_server import WSGIServer

from opentelemetry.metrics import MeterProvider

from argo_mw.plugin import ConfigError

HOST = "127.0.0.1"


class Prometheus:
    """A meter provider that Prometheus reads.

    Raises:
        ConfigError: The libraries are not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry.exporter.prometheus import PrometheusMetricReader
            from opentelemetry.sdk.metrics import MeterProvider as Provider
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            msg = (
                f"[plugins.metrics] port needs the Prometheus libraries ({error}); install "
                "argo-mw-metrics[prometheus], or remove port"
            )
            raise ConfigError(msg) from error
        self.registry = CollectorRegistry()
        reader = PrometheusMetricReader(scope_info_enabled=False, registry=self.registry)
        self._provider = Provider(metric_readers=[reader])
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def provider(self) -> MeterProvider:
        """The provider of meters that Prometheus reads."""
        return self._provider

    def serve(self, port: int) -> int:
        """Answer Prometheus in a thread, and return the port: *port*, or a free one for 0.

        Raises:
            ConfigError: The port is taken.
        """
        from prometheus_client import start_http_server

        try:
            self._server, self._thread = start_http_server(port, HOST, self.registry)
        except OSError as error:
            msg = f"[plugins.metrics] port = {port} cannot be used: {error}; choose another"
            raise ConfigError(msg) from error
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop answering; blocks for up to half a second."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._provider.shutdown()
