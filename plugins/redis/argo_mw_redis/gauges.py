"""Gauges of the connections, named by OpenTelemetry's conventions."""

from __future__ import annotations

from argo_mw.plugin import Gauge
from argo_mw.store import TagVersions
from argo_mw_redis.driver import RedisShared

_POOL = "db.client.connection.pool.name"
_STATE = "db.client.connection.state"


def gauges(shared: RedisShared, tag_versions: TagVersions) -> list[Gauge]:
    """Return gauges of *shared*: its connections, the commands that wait, and its state.

    *tag_versions* reports whether it takes writes.
    """
    pool = {_POOL: "redis"}
    count = ("db.client.connection.count", "{connection}", "Connections, by what they do")
    name, unit, description = count
    return [
        Gauge(name, lambda: shared.busy, unit, description, {**pool, _STATE: "used"}),
        Gauge(
            name,
            lambda: shared.connections - shared.busy,
            unit,
            description,
            {**pool, _STATE: "idle"},
        ),
        Gauge(
            "db.client.connection.max",
            lambda: shared.max_connections,
            unit,
            "The largest number of connections",
            pool,
        ),
        Gauge(
            "db.client.connection.pending_requests",
            lambda: shared.waiting,
            "{request}",
            "Commands that wait for a connection",
            pool,
        ),
        Gauge(
            "argo_mw.shared.available",
            lambda: int(shared.unreachable is None and tag_versions.usable),
            "",
            "1 while the shared store can be reached and takes writes, else 0",
        ),
    ]
