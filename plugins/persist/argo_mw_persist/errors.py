"""What can go wrong between a record and its table."""

from __future__ import annotations

from argo_mw.plugin import ArgoError


class PersistError(ArgoError):
    """The root of this plugin's errors."""


class SinkUnavailable(PersistError):
    """The sink cannot take or give rows now: away, locked, full. Trying again may help."""


class RowsRefused(PersistError):
    """The sink will never take these rows: at least one of them is at fault."""


class QueueFull(PersistError):
    """The sink does not keep up and the queue is at its bound; the record was not taken."""


class NotRecorded(PersistError):
    """A record that was taken could not be written; it was not acknowledged."""


class SchemaError(PersistError):
    """The tables are not of a version that this code can work with."""
