"""Faults, on demand and by schedule: what fails, for which requests, how often and when."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

from attrs import define, field, frozen, validators

TRANSPORT_FAULTS = {
    "stall": "accepts the request and answers after `hold` seconds, or never",
    "reset": "resets the connection instead of answering",
    "cut": "sends half of the body, then resets the connection",
    "trickle": "sends the body a byte at a time, `pace` seconds apart",
    "keepalive": "sends blank lines, `pace` seconds apart, for `hold` seconds before the answer",
    "outage": "resets every connection: as `reset`, meant for `seconds`",
}
"""Faults below the vendor's protocol; every vendor has them."""


@frozen
class Fault:
    """A way to fail.

    Attributes:
        kind: A transport fault, or the name of one of the vendor's own error bodies.
        share: Share of the matching requests that it strikes, 0 to 1.
        times: How many requests it strikes at most; ``None`` for no end.
        symbol: Strikes only requests that name this symbol (or this model).
        after: Seconds from the moment it was set until it begins.
        seconds: Seconds that it lasts from then; ``None`` for no end.
        pace: Seconds between the bytes of ``trickle`` or the lines of ``keepalive``.
        hold: Seconds for which ``stall`` and ``keepalive`` hold the answer back; ``None`` for ever.
    """

    kind: str
    share: float = field(
        default=1.0, converter=float, validator=[validators.ge(0), validators.le(1)]
    )
    times: int | None = None
    symbol: str | None = None
    after: float = 0.0
    seconds: float | None = None
    pace: float = 0.05
    hold: float | None = None


@define
class _Armed:
    fault: Fault
    since: float
    left: int | None

    def strikes(self, symbols: Collection[str], now: float, rng: random.Random) -> bool:
        fault = self.fault
        age = now - self.since - fault.after
        if age < 0 or (fault.seconds is not None and age >= fault.seconds) or self.left == 0:
            return False
        if fault.symbol is not None and fault.symbol not in symbols:
            return False
        if fault.share < 1 and rng.random() >= fault.share:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultBoard:
    """A vendor's faults, of which the first that matches strikes a request.

    Args:
        vendor: For messages.
        bodies: Names of the vendor's own error bodies.
        rng: Decides about shares.
    """

    def __init__(self, vendor: str, bodies: Collection[str], rng: random.Random) -> None:
        self._vendor = vendor
        self._known = [*TRANSPORT_FAULTS, *bodies]
        self._rng = rng
        self._armed: list[_Armed] = []

    def set(self, fault: Fault, now: float) -> None:
        """Arm a fault at monotonic time *now*.

        Raises:
            ValueError: The vendor has no fault of that kind.
        """
        if fault.kind not in self._known:
            # Imported here only: a sandbox in a process of its own does without the framework.
            from argo_mw.plugin import suggest

            known = ", ".join(self._known)
            hint = suggest(fault.kind, self._known)
            msg = f"{self._vendor} has no fault {fault.kind!r}: {hint} (it has {known})"
            raise ValueError(msg)
        self._armed.append(_Armed(fault, now, fault.times))

    def clear(self) -> None:
        """Disarm all faults."""
        self._armed.clear()

    def active(self) -> Iterable[Fault]:
        """Return the faults that are armed."""
        return [armed.fault for armed in self._armed]

    def draw(self, symbols: Collection[str], now: float) -> Fault | None:
        """Return the fault that strikes a request for *symbols* at monotonic time *now*, if any."""
        for armed in self._armed:
            if armed.strikes(symbols, now, self._rng):
                return armed.fault
        return None
