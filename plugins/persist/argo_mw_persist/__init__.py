"""Every answer worth keeping is written once, fast, and not lost."""

from argo_mw_persist.application import store_of
from argo_mw_persist.config import PersistConfig
from argo_mw_persist.database import Database
from argo_mw_persist.errors import (
    NotRecorded,
    PersistError,
    QueueFull,
    RowsRefused,
    SchemaError,
    SinkUnavailable,
)
from argo_mw_persist.layer import RECEIPTS
from argo_mw_persist.plugin import PersistPlugin
from argo_mw_persist.postgres import PostgresOptions, PostgresSink
from argo_mw_persist.queries import AnswerFilter, ChargeFilter
from argo_mw_persist.records import Answer
from argo_mw_persist.results import AnswerPage, Spending
from argo_mw_persist.retention import RetentionOptions
from argo_mw_persist.schema import Schema
from argo_mw_persist.sink import Connections, OpenSink, Query, Sink
from argo_mw_persist.sqlite import SqliteOptions, SqliteSink
from argo_mw_persist.store import RecordStore
from argo_mw_persist.writer import Receipt, WriterOptions

__all__ = [
    "RECEIPTS",
    "Answer",
    "AnswerFilter",
    "AnswerPage",
    "ChargeFilter",
    "Connections",
    "Database",
    "NotRecorded",
    "OpenSink",
    "PersistConfig",
    "PersistError",
    "PersistPlugin",
    "PostgresOptions",
    "PostgresSink",
    "Query",
    "QueueFull",
    "Receipt",
    "RecordStore",
    "RetentionOptions",
    "RowsRefused",
    "Schema",
    "SchemaError",
    "Sink",
    "SinkUnavailable",
    "Spending",
    "SqliteOptions",
    "SqliteSink",
    "WriterOptions",
    "store_of",
]
