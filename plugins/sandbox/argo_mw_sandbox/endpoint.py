"""The endpoint of a vendor: keys, quotas, latencies, faults and counts."""

from __future__ import annotations

import random
import zlib

from attrs import asdict, frozen

from argo_mw_sandbox.counts import VendorCounts
from argo_mw_sandbox.faults import TRANSPORT_FAULTS, Fault, FaultBoard
from argo_mw_sandbox.latency import INSTANT, Latency
from argo_mw_sandbox.quotas import UNLIMITED, Meter, Quota, Standing
from argo_mw_sandbox.vendors.protocol import Answer, Vendor, VendorRequest


@frozen
class Handling:
    """How a request is handled.

    Attributes:
        delay: Seconds until its answer.
        standing: What is left of its key's quota.
        error: The error that answers it, or ``None``.
        fault: The transport fault that strikes it, or ``None``.
        twist: The way in which its answer is made useless, or ``""``.
    """

    delay: float
    standing: Standing
    error: Answer | None = None
    fault: Fault | None = None
    twist: str = ""


class Endpoint:
    """The receiver of a vendor's requests.

    Args:
        vendor: Its protocol.
        seed: What latencies and faults depend on.
        latency: Its response times.
        quota: Its limits.
        keys: Accepted API keys; ``None`` accepts any that is not empty.
    """

    def __init__(
        self,
        vendor: Vendor,
        *,
        seed: int,
        latency: Latency = INSTANT,
        quota: Quota = UNLIMITED,
        keys: frozenset[str] | None = None,
    ) -> None:
        self.vendor = vendor
        self.latency = latency
        self.counts = VendorCounts()
        self.meter = Meter(quota)
        self._keys = keys
        number = zlib.crc32(f"{seed}:{vendor.name}".encode())
        self._delays = random.Random(number)
        self.faults = FaultBoard(
            vendor.name, [*vendor.twists, *vendor.errors], random.Random(number + 1)
        )

    def receive(self, request: VendorRequest, now: float) -> Handling:
        """Count a request at monotonic time *now* and decide what happens to it."""
        symbols = self.vendor.symbols(request)
        counts = self.counts
        counts.requests += 1
        counts.symbols.update(symbols)
        delay = self.latency.draw(self._delays)
        fault = self.faults.draw(symbols, now)
        if fault is not None:
            counts.faults[fault.kind] += 1
            if fault.kind in ("reset", "outage"):
                return Handling(delay, Standing(), fault=fault)
        key = self.vendor.key(request)
        if not self._admits(key, request):
            return Handling(delay, Standing(), error=self.vendor.errors["unauthorized"])
        standing = self.meter.charge(key, now)
        if standing.exceeded:
            return Handling(delay, standing, error=self.vendor.exceeded(standing))
        if fault is None or fault.kind in TRANSPORT_FAULTS:
            return Handling(delay, standing, fault=fault)
        if fault.kind in self.vendor.twists:
            return Handling(delay, standing, twist=fault.kind)
        return Handling(delay, standing, error=self.vendor.errors[fault.kind])

    def _admits(self, key: str, request: VendorRequest) -> bool:
        if not key:
            return self.vendor.is_public(request)
        return self._keys is None or key in self._keys

    def answered(self, answer: Answer) -> None:
        """Count an answer that was sent in full."""
        counts = self.counts
        counts.answered += 1
        counts.statuses[answer.status] += 1
        if answer.error:
            counts.failed += 1
        usage = answer.usage
        counts.input_tokens += usage.input
        counts.output_tokens += usage.output
        counts.cache_write_tokens += usage.cache_write
        counts.cache_read_tokens += usage.cache_read

    def reset_counts(self) -> None:
        """Set the counts back to zero; requests in flight are carried over."""
        flying = self.counts.in_flight
        self.counts = VendorCounts(requests=flying, in_flight=flying)

    def state(self) -> dict[str, object]:
        """Return the settings as plain data."""
        return {
            "latency": asdict(self.latency),
            "quota": asdict(self.meter.quota),
            "faults": [asdict(fault) for fault in self.faults.active()],
        }
