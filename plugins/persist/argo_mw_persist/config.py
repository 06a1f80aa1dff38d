"""The plugin's configuration."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen, validators

from argo_mw import Clock, Secret, Tasks
from argo_mw_persist.postgres import PostgresOptions, PostgresSink
from argo_mw_persist.sink import OpenSink, Sink, make_sink
from argo_mw_persist.spool import Drained, Said, SpooledSink
from argo_mw_persist.sqlite import SqliteOptions, SqliteSink
from argo_mw_persist.writer import WriterOptions

FILE = "persist.db"
SPOOL = "persist-spool.db"


@frozen
class PersistConfig:
    """The table ``[plugins.persist]``.

    Attributes:
        url: ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``; a file in the state directory
            unless told.
        signals: Operations whose answers are trading signals and kept as such.
        answers: Operations whose answers are kept as they are.
        ledger: Whether what metered upstreams cost is kept.
        durable: Whether a call waits until its answer is safe.
        flush_within: Seconds that the end of the program, SIGTERM included, may spend on what
            is still queued.
        on_sigterm: Whether SIGTERM, if the program does not handle it, writes what is queued
            before it ends the process.
        spool_bytes: The largest that the file may grow in which records wait while PostgreSQL is
            away; 0 for none.
        writer: How records are queued and put together.
        sqlite: How SQLite is used.
        postgresql: How PostgreSQL is used.
    """

    url: Secret = field(default=Secret(""))
    signals: tuple[str, ...] = ("signal",)
    answers: tuple[str, ...] = ()
    ledger: bool = True
    durable: bool = False
    flush_within: float = field(default=10.0, validator=validators.ge(0))
    on_sigterm: bool = True
    spool_bytes: int = field(default=256 << 20, validator=validators.ge(0))
    writer: WriterOptions = field(factory=WriterOptions)
    sqlite: SqliteOptions = field(factory=SqliteOptions)
    postgresql: PostgresOptions = field(factory=PostgresOptions)

    def sink(self, state_dir: Path) -> Sink:
        """The configured sink, not opened yet.

        Raises:
            ConfigError: The URL is none of a sink.
        """
        schemes: dict[str, OpenSink] = {
            "sqlite": lambda url: SqliteSink.from_url(url, self.sqlite),
            "postgresql": lambda url: PostgresSink(url, self.postgresql),
            "postgres": lambda url: PostgresSink(url, self.postgresql),
        }
        if not self.url:
            return SqliteSink(state_dir / FILE, self.sqlite)
        return make_sink(self.url.reveal(), schemes)

    def bridged(
        self, state_dir: Path, *, clock: Clock, tasks: Tasks, said: Said, drained: Drained
    ) -> Sink:
        """The configured sink, with a spool where it may be away."""
        sink = self.sink(state_dir)
        if sink.dialect == "sqlite" or not self.spool_bytes:
            return sink
        options = SqliteOptions(max_bytes=self.spool_bytes, readers=1)
        spool = SqliteSink(state_dir / SPOOL, options)
        return SpooledSink(sink, spool, clock=clock, tasks=tasks, said=said, drained=drained)
