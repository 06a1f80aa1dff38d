"""Every answer worth keeping is written once, fast, and not lost."""

from argo_mw_persist.config import PersistConfig
from argo_mw_persist.errors import (
    NotRecorded,
    PersistError,
    QueueFull,
    RowsRefused,
    SchemaError,
    SinkUnavailable,
    UnknownSignal,
)
from argo_mw_persist.layer import RECEIPTS
from argo_mw_persist.plugin import store_of
from argo_mw_persist.postgres import PostgresOptions, PostgresSink
from argo_mw_persist.queries import Filter
from argo_mw_persist.records import Answer, Charge, Signal, Voice
from argo_mw_persist.sink import Query, Sink
from argo_mw_persist.sqlite import SqliteOptions, SqliteSink
from argo_mw_persist.store import Page, Performance, Store
from argo_mw_persist.writer import Receipt, WriterOptions

__all__ = [
    "RECEIPTS",
    "Answer",
    "Charge",
    "Filter",
    "NotRecorded",
    "Page",
    "Performance",
    "PersistConfig",
    "PersistError",
    "PostgresOptions",
    "PostgresSink",
    "Query",
    "QueueFull",
    "Receipt",
    "RowsRefused",
    "SchemaError",
    "Signal",
    "Sink",
    "SinkUnavailable",
    "SqliteOptions",
    "SqliteSink",
    "Store",
    "UnknownSignal",
    "Voice",
    "WriterOptions",
    "store_of",
]
