"""The configuration of a sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from attrs import Factory, frozen

from argo_mw_sandbox.faults import Fault
from argo_mw_sandbox.latency import Latency
from argo_mw_sandbox.quotas import Quota


@frozen(kw_only=True)
class SandboxConfig:
    """A sandbox's settings. Everything random follows from ``seed``.

    Attributes:
        now: The replayed instant to start at; ``None`` for the end of the last real day, or of
            the newest bar in ``data``.
        speed: Replayed seconds per real second; 0 holds the clock still.
        data: A folder with the user's own bars, which then replace the built-in real symbols.
        align: Whether the files of ``data`` are re-dated so that all of them end on the same day,
            their last days on its last sessions; without it, each keeps its dates.
        seed: Equal seeds give equal latencies, faults, drawn minutes and synthetic prices.
        latency: Response times by vendor; vendors that are not named answer at once.
        quotas: Quotas by vendor; vendors that are not named are not limited.
        faults: Faults by vendor, armed at the start; ``after`` and ``seconds`` make a schedule.
        keys: Accepted API keys; ``None`` accepts any key that is not empty.
        paid: Whether keys have paid plans (recent SIP bars at Alpaca, full history at
            Alpha Vantage).
        host: The address to listen on; it must be a loopback address.
        port: The port to listen on; 0 takes a free one.
    """

    now: datetime | None = None
    speed: float = 1.0
    data: Path | None = None
    align: bool = False
    seed: int = 0
    latency: Mapping[str, Latency] = Factory(dict)
    quotas: Mapping[str, Quota] = Factory(dict)
    faults: Mapping[str, tuple[Fault, ...]] = Factory(dict)
    keys: frozenset[str] | None = None
    paid: bool = True
    host: str = "127.0.0.1"
    port: int = 0
