"""Prometheus: metrics as text at ``http://HOST:PORT/metrics``."""

from __future__ import annotations

import socket
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from math import inf
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from argo_mw.plugin import ConfigError, Histogram, WebGuard
from argo_mw_metrics.metric import Reading, label_name, prometheus_name
from argo_mw_metrics.sampler import Sampler

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import Metric as Family

    _Request = socket.socket | tuple[bytes, socket.socket]

PATH: Final = "/metrics"
_PER_DOUBLING: Final = 32
_PATIENCE: Final = 10.0
"""Seconds for which a client may send nothing of its request."""

MAX_CLIENTS: Final = 32
"""Clients that are answered at the same time; the connection of any other is closed at once."""

_PROBLEMS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
_PROBLEMS |= {405: "Method Not Allowed", 421: "Misdirected Request", 503: "Service Unavailable"}


class Exposition:
    """What Prometheus reads: a collector for ``prometheus_client``.

    Args:
        sampler: Reads the metrics.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def collect(self) -> Iterator[Family]:
        """Yield all metrics as they are now.

        Raises:
            TimeoutError: The event loop did not come to it in time.
            RuntimeError: The event loop is closed.
        """
        return map(family, self._sampler.readings())


def family(reading: Reading) -> Family:
    """Return *reading* as ``prometheus_client`` writes it."""
    from prometheus_client import Metric as Family

    name = prometheus_name(reading.name, reading.unit)
    made = Family(name, reading.description, reading.kind)
    for labels, value in sorted(reading.points.items(), key=lambda one: one[0]):
        named = {label_name(attribute): text for attribute, text in labels}
        if isinstance(value, Histogram):
            _add_histogram(made, named, value, reading.bounds)
        else:
            made.add_sample(name + ("_total" if reading.kind == "counter" else ""), named, value)
    return made


def _add_histogram(
    made: Family, labels: dict[str, str], histogram: Histogram, bounds: Iterable[float]
) -> None:
    for bound, count in buckets(histogram, tuple(bounds)):
        text = "+Inf" if bound == inf else str(float(bound))
        made.add_sample(f"{made.name}_bucket", {**labels, "le": text}, count)
    made.add_sample(f"{made.name}_count", labels, histogram.count)
    made.add_sample(f"{made.name}_sum", labels, histogram.sum)


def buckets(histogram: Histogram, bounds: tuple[float, ...]) -> list[tuple[float, int]]:
    """Return how many values are at most as large as each of *bounds*, and infinity.

    A bound that falls into one of the histogram's buckets takes all of its values if the bucket's
    middle is not above it: the bound is then off by 1.1 % at most.
    """
    counts = [0] * (len(bounds) + 1)
    counts[0] = histogram.zeros
    for index, count in histogram.buckets.items():
        counts[bisect_left(bounds, 2.0 ** ((index + 0.5) / _PER_DOUBLING))] += count
    return list(zip((*bounds, inf), accumulate(counts), strict=True))


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread, so that a slow client delays no other."""

    daemon_threads = True
    request_queue_size = MAX_CLIENTS

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        super().__init__(address, handler)
        self._places = threading.Semaphore(MAX_CLIENTS)

    def process_request(self, request: _Request, client_address: object) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the process can start no further thread
            self._places.release()
            raise

    def process_request_thread(self, request: _Request, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Print no traceback to standard error: the client has left."""


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        """Do not write a line for each scrape."""


class Prometheus:
    """Answers Prometheus, in threads of its own.

    Args:
        sampler: Reads the metrics.
        guard: Says who may read them.

    Raises:
        ConfigError: The libraries are not installed.
    """

    def __init__(self, sampler: Sampler, guard: WebGuard) -> None:
        try:
            from prometheus_client import CollectorRegistry, make_wsgi_app
        except ImportError as error:
            msg = (
                f"[plugins.metrics] port needs the Prometheus libraries ({error}); install "
                "argo-mw-metrics[prometheus], or remove port"
            )
            raise ConfigError(msg) from error
        # Registered without a description, since making one would collect once for nothing.
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Exposition(sampler))
        self._answer: WSGIApplication = guarded(make_wsgi_app(registry), guard)
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def serve(self, host: str, port: int) -> int:
        """Answer in threads, and return the port: *port*, or a free one for 0.

        Raises:
            ConfigError: The port is taken, or *host* is not an address of this machine.
        """
        kind = _IPv6Server if ":" in host else _Server
        try:
            server = kind((host, port), _Handler)
        except OSError as error:
            msg = (
                f"[plugins.metrics] port = {port} cannot be used on host = {host!r}: {error}; "
                "choose another"
            )
            raise ConfigError(msg) from error
        server.set_app(self._answer)
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, name="argo-mw:prometheus", daemon=True
        )
        self._thread.start()
        return int(server.server_port)

    def close(self) -> None:
        """Stop answering; blocks for up to half a second."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


def guarded(answer: WSGIApplication, guard: WebGuard) -> WSGIApplication:
    """Return *answer* behind *guard*, for reading :data:`PATH` alone."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = str(environ["REQUEST_METHOD"])
        refusal = guard.refusal(method, _headers(environ))
        if refusal is not None:
            return _problem(start_response, refusal.status, refusal.reason)
        if environ.get("PATH_INFO") != PATH:
            return _problem(start_response, 404, f"the metrics are at {PATH}")
        if method not in ("GET", "HEAD"):
            return _problem(start_response, 405, "metrics are read by GET")
        try:
            return answer(environ, start_response)
        except (TimeoutError, RuntimeError):
            return _problem(start_response, 503, "the event loop does not answer")

    return application


def _headers(environ: WSGIEnvironment) -> Mapping[str, str]:
    return {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }


def _problem(start_response: StartResponse, status: int, reason: str) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    if status == 401:
        headers.append(("WWW-Authenticate", 'Bearer realm="argo-mw metrics"'))
    start_response(f"{status} {_PROBLEMS.get(status, 'Error')}", headers)
    return [f"{reason}\n".encode()]
