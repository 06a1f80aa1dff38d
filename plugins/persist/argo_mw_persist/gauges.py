"""Gauges of how much waits to be written and of how connections are used."""

from __future__ import annotations

from collections.abc import Callable

from argo_mw.plugin import Gauge
from argo_mw_persist.sink import Connections
from argo_mw_persist.spool import SpooledSink
from argo_mw_persist.store import RecordStore

_POOL = "db.client.connection.pool.name"
_STATE = "db.client.connection.state"


def gauges(store: Callable[[], RecordStore | None]) -> list[Gauge]:
    """Return gauges of the store in use: its queue, its spool, its connections.

    Args:
        store: Returns it, or ``None`` while there is none.
    """

    def of_store(read: Callable[[RecordStore], int]) -> Callable[[], int | None]:
        def value() -> int | None:
            current = store()
            return None if current is None else read(current)

        return value

    def of_pool(read: Callable[[Connections], int]) -> Callable[[], int | None]:
        def value() -> int | None:
            connections = _connections(store())
            return None if connections is None else read(connections)

        return value

    pool = {_POOL: "persist"}
    count, unit, what = "db.client.connection.count", "{connection}", "Connections, by what they do"
    return [
        Gauge(
            "argo_mw.persist.queue.size",
            of_store(lambda s: s.writer.held),
            "{record}",
            "Records that are taken and not safe yet",
        ),
        Gauge(
            "argo_mw.persist.queue.limit",
            of_store(lambda s: s.writer.capacity),
            "{record}",
            "Records that may be taken and not safe yet",
        ),
        Gauge(
            "argo_mw.persist.spool.size",
            lambda: _spooled(store()),
            "{record}",
            "Records that wait in the spool for their sink",
        ),
        Gauge(count, of_pool(lambda c: c.used), unit, what, {**pool, _STATE: "used"}),
        Gauge(count, of_pool(lambda c: c.idle), unit, what, {**pool, _STATE: "idle"}),
        Gauge(
            "db.client.connection.max",
            of_pool(lambda c: c.limit),
            unit,
            "Connections at most",
            pool,
        ),
    ]


def _spooled(store: RecordStore | None) -> int | None:
    sink = None if store is None else store.sink
    return sink.depth if isinstance(sink, SpooledSink) else None


def _connections(store: RecordStore | None) -> Connections | None:
    sink = None if store is None else store.sink
    connections = getattr(sink, "connections", None)
    return connections if isinstance(connections, Connections) else None
