"""Gauges: current values that plugins offer, as observable gauges of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from argo_mw.plugin import Gauge, Log

log = Log("argo_mw")

_shown: WeakKeyDictionary[Meter, dict[str, list[Gauge]]] = WeakKeyDictionary()
"""The gauges that each meter's instruments read, by name.

By meter and not by application, because a meter belongs to the program: its instruments outlive
the application that made them, and the SDK would go on calling the first callback of a name.
"""
_broken: WeakSet[Gauge] = WeakSet()


class Gauges:
    """The gauges of one application, read on demand, from the thread of the reader.

    Args:
        meter: Makes the instruments.
        gauges: What is read; those of one name share an instrument.
    """

    def __init__(self, meter: Meter, gauges: Iterable[Gauge]) -> None:
        self._gauges = list(gauges)
        self._by_name = _shown.setdefault(meter, {})
        for gauge in self._gauges:
            if gauge.name not in self._by_name:
                self._by_name[gauge.name] = []
                _create_instrument(meter, gauge, self._by_name[gauge.name])
            self._by_name[gauge.name].append(gauge)

    def close(self) -> None:
        """Have none of them read any more. Idempotent."""
        while self._gauges:
            gauge = self._gauges.pop()
            self._by_name[gauge.name].remove(gauge)


def flatten(answers: Mapping[str, object]) -> list[Gauge]:
    """Return all gauges in the *answers* of plugins to ``register_gauges``."""
    return [gauge for some in answers.values() for gauge in cast("Iterable[Gauge]", some)]


def _create_instrument(meter: Meter, first: Gauge, shown: list[Gauge]) -> None:
    def observe(_: CallbackOptions) -> list[Observation]:
        return [one for gauge in list(shown) if (one := _read(gauge)) is not None]

    meter.create_observable_gauge(first.name, [observe], first.unit, first.description)


def _read(gauge: Gauge) -> Observation | None:
    try:
        value = gauge.read()
    except Exception:
        # The others of the same name are read all the same.
        if gauge not in _broken:
            _broken.add(gauge)
            log.exception("a gauge cannot be read", gauge=gauge.name)
        return None
    return None if value is None else Observation(value, dict(gauge.attributes))
