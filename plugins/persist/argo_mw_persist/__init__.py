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
from argo_mw_persist.queries import AnswerFilter, ChargeFilter, Filter
from argo_mw_persist.records import Answer, Charge, Signal, Voice
from argo_mw_persist.results import AnswerPage, Page, Performance, Spending
from argo_mw_persist.retention import RetentionOptions
from argo_mw_persist.sink import Connections, OpenSink, Query, Sink
from argo_mw_persist.sqlite import SqliteOptions, SqliteSink
from argo_mw_persist.store import Store
from argo_mw_persist.writer import Receipt, WriterOptions

__all__ = [
    "RECEIPTS",
    "Answer",
    "AnswerFilter",
    "AnswerPage",
    "Charge",
    "ChargeFilter",
    "Connections",
    "Filter",
    "NotRecorded",
    "OpenSink",
    "Page",
    "Performance",
    "PersistConfig",
    "PersistError",
    "PostgresOptions",
    "PostgresSink",
    "Query",
    "QueueFull",
    "Receipt",
    "RetentionOptions",
    "RowsRefused",
    "SchemaError",
    "Signal",
    "Sink",
    "SinkUnavailable",
    "Spending",
    "SqliteOptions",
    "SqliteSink",
    "Store",
    "UnknownSignal",
    "Voice",
    "WriterOptions",
    "store_of",
]
