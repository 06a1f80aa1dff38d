"""Assembly of the exchange from the configured sources."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from argo_mw_sandbox.config import SandboxConfig
from argo_mw_sandbox.exchange import Exchange
from argo_mw_sandbox.files import instrument, read_folder
from argo_mw_sandbox.instruments import DayMemory, Instrument
from argo_mw_sandbox.sources import real, synthetic


def build_exchange(config: SandboxConfig) -> Exchange:
    """Return the exchange of a configuration: the user's files or real days, and synthetic.

    Raises:
        ValueError: The data folder cannot be used.
    """
    return Exchange(_instruments(config))


def default_now(exchange: Exchange) -> datetime:
    """Return a minute after the newest real or recorded bar is complete."""
    ends = [int(each.complete[-1]) for each in exchange if each.source != "synthetic"]
    return datetime.fromtimestamp(max(ends) + 60, UTC)


def _instruments(config: SandboxConfig) -> Iterator[Instrument]:
    memory = DayMemory()
    yield from synthetic(memory, config.seed)
    if config.data is None:
        yield from real(memory, config.seed)
    else:
        for table in read_folder(config.data, align=config.align):
            yield instrument(table, memory, config.seed)
