"""What can go wrong between a record and its table."""

from __future__ import annotations

from argo_mw.plugin import ArgoError


class PersistError(ArgoError):
    """The root of this plugin's errors."""


class SinkUnavailable(PersistError):
    """The sink cannot write or read now: it is unreachable, locked or full. Try again later."""


class RowsRefused(PersistError):
    """The sink will never accept these rows: at least one of them is invalid."""


class QueueFull(PersistError):
    """The queue is full, since the sink does not keep up; the record was not accepted."""


class NotRecorded(PersistError):
    """An accepted record could not be written; it was not acknowledged."""


class SchemaError(PersistError):
    """The tables are not of a version that this code can work with."""
