"""How the connections are used, for those who watch; named by OpenTelemetry's conventions."""

from __future__ import annotations

from argo_mw.plugin import Gauge
from argo_mw_redis.driver import RedisShared

_POOL = "db.client.connection.pool.name"
_STATE = "db.client.connection.state"


def gauges(shared: RedisShared) -> list[Gauge]:
    """Gauges of *shared*: its connections for commands, who waits for them, and the breaker."""
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
            lambda: shared.most_connections,
            unit,
            "Connections at most",
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
            "argo.shared.available",
            lambda: int(shared.away is None),
            "",
            "1 while the shared store can be reached, 0 while its breaker is open",
        ),
    ]
