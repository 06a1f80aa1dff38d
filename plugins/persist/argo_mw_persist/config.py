"""The plugin's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from attrs import field, frozen, validators

from argo_mw.plugin import Clock, ConfigError, SecretUrl, Shown, Tasks
from argo_mw_persist.postgres import PostgresOptions, PostgresSink
from argo_mw_persist.retention import RetentionOptions
from argo_mw_persist.sink import OpenSink, Sink, make_sink
from argo_mw_persist.spool import OnDrained, OnWarning, SpooledSink
from argo_mw_persist.sqlite import MAX_HELD, SqliteOptions, SqliteSink
from argo_mw_persist.writer import WriterOptions

FILE = "persist.db"
SPOOL = "persist-spool.db"


@frozen
class PersistConfig:
    """The table ``[plugins.persist]``.

    Attributes:
        url: ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``, or what another plugin offers;
            by default a file in the state directory.
        answers: Operations whose answers are recorded as they are. Operations with a recording of
            their own need not be named here.
        costs: Whether the costs of requests are recorded.
        durable: Whether a call waits until its answer is safe.
        flush_timeout: Seconds that the end of the program, also by SIGTERM, may spend on writing
            what is still queued.
        on_sigterm: Whether SIGTERM, if the program does not handle it, writes what is queued
            before it ends the process.
        max_spool_bytes: The largest size of the spool, in bytes: the file in which rows wait while
            PostgreSQL, or another plugin's sink, cannot be reached; 0 for no spool.
        writer: How records are queued and batched.
        retention: For how long records are kept.
        sqlite: How SQLite is used.
        postgresql: How PostgreSQL is used.
    """

    url: SecretUrl = field(default=SecretUrl(""))
    answers: tuple[Shown, ...] = ()
    costs: bool = True
    durable: bool = False
    flush_timeout: float = field(default=10.0, validator=validators.ge(0))
    on_sigterm: bool = True
    max_spool_bytes: int = field(default=256 << 20, validator=validators.ge(0))
    writer: WriterOptions = field(factory=WriterOptions)
    retention: RetentionOptions = field(factory=RetentionOptions)
    sqlite: SqliteOptions = field(factory=SqliteOptions)
    postgresql: PostgresOptions = field(factory=PostgresOptions)

    def sink(
        self,
        state_dir: Path,
        registered: Mapping[str, object] | None = None,
        *,
        held: int = MAX_HELD,
    ) -> Sink:
        """Return the configured sink, not opened yet.

        Args:
            state_dir: Where files are kept.
            registered: What plugins answer to ``register_sinks``, by plugin.
            held: How many newest rows are held in memory at most.

        Raises:
            ConfigError: No sink is registered for the URL's scheme, or two sinks have one scheme.
        """
        own: dict[str, OpenSink] = {
            "sqlite": lambda url: SqliteSink.from_url(url, self.sqlite, held=held),
            "postgresql": self._postgres_sink,
            "postgres": self._postgres_sink,
        }
        if not self.url:
            return SqliteSink(state_dir / FILE, self.sqlite, held=held)
        return make_sink(self.url.reveal(), _joined(own, registered or {}))

    def _postgres_sink(self, url: str) -> PostgresSink:
        return PostgresSink(url, self.postgresql, days=self.retention.days)

    def bridged(
        self,
        state_dir: Path,
        registered: Mapping[str, object] | None = None,
        *,
        clock: Clock,
        tasks: Tasks,
        on_warning: OnWarning,
        on_drained: OnDrained,
        held: int = MAX_HELD,
    ) -> Sink:
        """Return the configured sink, with a spool if it may be unreachable.

        Args:
            state_dir: Where files are kept.
            registered: What plugins answer to ``register_sinks``, by plugin.
            clock: Where the spool's time comes from.
            tasks: The owner of the task that drains it.
            on_warning: Called with one line when the sink cannot be reached and when it can again.
            on_drained: Called with the rows that have reached the sink from the spool.
            held: How many newest rows are held in memory at most.

        Raises:
            ConfigError: No sink is registered for the URL's scheme, or two sinks have one scheme.
        """
        sink = self.sink(state_dir, registered, held=held)
        if isinstance(sink, SqliteSink) or not self.max_spool_bytes:
            return sink
        options = SqliteOptions(max_bytes=self.max_spool_bytes, readers=1)
        spool = SqliteSink(state_dir / SPOOL, options, rescues=True)
        return SpooledSink(
            sink, spool, clock=clock, tasks=tasks, on_warning=on_warning, on_drained=on_drained
        )


def _joined(own: Mapping[str, OpenSink], registered: Mapping[str, object]) -> dict[str, OpenSink]:
    known = dict(own)
    for plugin, answer in registered.items():
        for scheme, open_sink in cast("Mapping[str, OpenSink]", answer).items():
            if scheme in known:
                msg = (
                    f"plugin {plugin!r} registers sinks for {scheme}://, which is taken; "
                    "choose another scheme for them"
                )
                raise ConfigError(msg)
            known[scheme] = open_sink
    return known
