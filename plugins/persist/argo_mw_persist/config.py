"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from attrs import field, frozen, validators

from argo_mw.plugin import Clock, ConfigError, Secret, Tasks
from argo_mw_persist.postgres import PostgresOptions, PostgresSink
from argo_mw_persist.retention import RetentionOptions
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
        url: ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``, or what another plugin offers;
            a file in the state directory unless told.
        signals: Operations whose answers are trading signals and kept as such.
        answers: Operations whose answers are kept as they are.
        ledger: Whether what metered upstreams cost is kept.
        durable: Whether a call waits until its answer is safe.
        flush_within: Seconds that the end of the program, SIGTERM included, may spend on what
            is still queued.
        on_sigterm: Whether SIGTERM, if the program does not handle it, writes what is queued
            before it ends the process.
        spool_bytes: The largest that the file may grow in which records wait while PostgreSQL, or
            another plugin's sink, is away; 0 for none.
        writer: How records are queued and put together.
        retention: For how long records are kept.
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
    retention: RetentionOptions = field(factory=RetentionOptions)
    sqlite: SqliteOptions = field(factory=SqliteOptions)
    postgresql: PostgresOptions = field(factory=PostgresOptions)

    def sink(self, state_dir: Path, registered: Mapping[str, object] | None = None) -> Sink:
        """The configured sink, not opened yet.

        Args:
            state_dir: Where files are kept.
            registered: What plugins answer to ``register_sinks``, by plugin.

        Raises:
            ConfigError: The URL is none of a sink, or two sinks have one scheme.
        """
        own: dict[str, OpenSink] = {
            "sqlite": lambda url: SqliteSink.from_url(url, self.sqlite),
            "postgresql": lambda url: PostgresSink(url, self.postgresql),
            "postgres": lambda url: PostgresSink(url, self.postgresql),
        }
        if not self.url:
            return SqliteSink(state_dir / FILE, self.sqlite)
        return make_sink(self.url.reveal(), _joined(own, registered or {}))

    def bridged(
        self,
        state_dir: Path,
        registered: Mapping[str, object] | None = None,
        *,
        clock: Clock,
        tasks: Tasks,
        said: Said,
        drained: Drained,
    ) -> Sink:
        """The configured sink, with a spool where it may be away.

        Args:
            state_dir: Where files are kept.
            registered: What plugins answer to ``register_sinks``, by plugin.
            clock: Where the spool's time comes from.
            tasks: Who owns the task that drains it.
            said: Told in one line when the sink goes and when it is back.
            drained: Called with the entries that have reached the sink from the spool.

        Raises:
            ConfigError: The URL is none of a sink, or two sinks have one scheme.
        """
        sink = self.sink(state_dir, registered)
        if isinstance(sink, SqliteSink) or not self.spool_bytes:
            return sink
        options = SqliteOptions(max_bytes=self.spool_bytes, readers=1)
        spool = SqliteSink(state_dir / SPOOL, options)
        return SpooledSink(sink, spool, clock=clock, tasks=tasks, said=said, drained=drained)


def _joined(own: Mapping[str, OpenSink], registered: Mapping[str, object]) -> dict[str, OpenSink]:
    known = dict(own)
    for plugin, answer in registered.items():
        for scheme, open_sink in cast("Mapping[str, OpenSink]", answer).items():
            if scheme in known:
                msg = (
                    f"plugin {plugin!r} registers sinks for {scheme}://, which is taken; "
                    "let it choose another scheme"
                )
                raise ConfigError(msg)
            known[scheme] = open_sink
    return known
