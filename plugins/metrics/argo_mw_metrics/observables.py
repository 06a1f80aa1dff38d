"""Observables: counters and gauges for the meter provider that the program has set up.

OpenTelemetry's API has no observable histogram, and recording each value at its time would cost
every call: histograms go out over OTLP and in the Prometheus text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary

from attrs import frozen
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from argo_mw.plugin import Log
from argo_mw_metrics.metric import Reading
from argo_mw_metrics.moment import Moment
from argo_mw_metrics.sampler import PATIENCE, Sampler

log = Log("argo_mw")

_FRESH: Final = 1.0
"""Seconds for which one moment serves all instruments: a collection asks them one by one."""


@frozen(eq=False)
class _Shown:
    """One metric of one application, as an instrument reads it."""

    owner: Observables
    read: Callable[[], Iterable[Observation]]


_shown: WeakKeyDictionary[Meter, dict[str, list[_Shown]]] = WeakKeyDictionary()
"""What the instruments of each meter read, by name.

By meter and not by application, because a meter belongs to the program: its instruments outlive
the application that made them, and the SDK would go on calling the first callback of a name.
"""


class Observables:
    """The counters and gauges of one application, read on demand, in the thread of the reader.

    Args:
        meter: Makes the instruments.
        sampler: Reads the metrics.
    """

    def __init__(self, meter: Meter, sampler: Sampler) -> None:
        self._sampler = sampler
        self._silent_until = 0.0
        self._by_name = _shown.setdefault(meter, {})
        for metric in sampler.metrics:
            if metric.kind != "histogram":
                make: Callable[..., object] = meter.create_observable_counter
                if metric.kind == "gauge":
                    make = meter.create_observable_gauge
                create = _creator(make, metric.name, metric.unit, metric.description)
                self._show(metric.name, create, self._reader(metric.reading))
        for name, gauges in sampler.gauges.items():
            first = gauges[0]
            create = _creator(meter.create_observable_gauge, name, first.unit, first.description)
            self._show(name, create, self._gauge_reader(name))

    def close(self) -> None:
        """Stop all readings. Idempotent."""
        for shown in self._by_name.values():
            shown[:] = [one for one in shown if one.owner is not self]

    def _show(
        self,
        name: str,
        create: Callable[[list[_Shown]], None],
        read: Callable[[], Iterable[Observation]],
    ) -> None:
        if name not in self._by_name:
            self._by_name[name] = []
            create(self._by_name[name])
        self._by_name[name].append(_Shown(self, read))

    def _reader(self, read: Callable[[Moment], Reading]) -> Callable[[], list[Observation]]:
        def observe() -> list[Observation]:
            moment = self._moment()
            return [] if moment is None else _observations(read(moment))

        return observe

    def _gauge_reader(self, name: str) -> Callable[[], list[Observation]]:
        return lambda: _observations(self._sampler.gauge(name))

    def _moment(self) -> Moment | None:
        """Return a moment of now, or ``None`` while the event loop does not answer."""
        now = time.monotonic()
        if now < self._silent_until:
            return None
        try:
            return self._sampler.moment(_FRESH)
        except (TimeoutError, RuntimeError) as error:
            # The next instruments of this collection do not wait as long again.
            self._silent_until = time.monotonic() + PATIENCE
            log.warning("the metrics were not read: the event loop does not answer", error=error)
            return None


def _creator(
    make: Callable[..., object], name: str, unit: str, description: str
) -> Callable[[list[_Shown]], None]:
    def create(shown: list[_Shown]) -> None:
        def observe(_: CallbackOptions) -> list[Observation]:
            return [observation for one in list(shown) for observation in one.read()]

        make(name, [observe], unit, description)

    return create


def _observations(reading: Reading) -> list[Observation]:
    return [
        Observation(value, dict(labels))
        for labels, value in reading.points.items()
        if isinstance(value, int | float)
    ]
