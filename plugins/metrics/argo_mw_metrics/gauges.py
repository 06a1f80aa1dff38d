"""Gauges: what plugins say that something stands at, as observable gauges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from argo_mw.plugin import Gauge, Log

log = Log("argo_mw")

_shown: WeakKeyDictionary[Meter, dict[str, list[Gauge]]] = WeakKeyDictionary()
"""What each meter's instruments read, by name: an instrument outlives the application that made
it, and made a second time it would go on reading what it read at first."""
_broken: WeakSet[Gauge] = WeakSet()


class Gauges:
    """Lets gauges be read whenever somebody looks, from the thread of whoever looks.

    Args:
        meter: Makes the instruments.
        gauges: What is read; those of one name are one instrument.
    """

    def __init__(self, meter: Meter, gauges: Iterable[Gauge]) -> None:
        self._gauges = list(gauges)
        self._by_name = _shown.setdefault(meter, {})
        for gauge in self._gauges:
            if gauge.name not in self._by_name:
                self._by_name[gauge.name] = []
                _observe(meter, gauge, self._by_name[gauge.name])
            self._by_name[gauge.name].append(gauge)

    def close(self) -> None:
        """Let none of them be read any more. Idempotent."""
        while self._gauges:
            gauge = self._gauges.pop()
            self._by_name[gauge.name].remove(gauge)


def gauges_in(answers: Mapping[str, object]) -> list[Gauge]:
    """All gauges that plugins answered to ``register_gauges``."""
    return [gauge for some in answers.values() for gauge in cast("Iterable[Gauge]", some)]


def _observe(meter: Meter, first: Gauge, shown: list[Gauge]) -> None:
    def observe(_: CallbackOptions) -> list[Observation]:
        return [one for gauge in list(shown) if (one := _read(gauge)) is not None]

    meter.create_observable_gauge(first.name, [observe], first.unit, first.description)


def _read(gauge: Gauge) -> Observation | None:
    try:
        value = gauge.read()
    except Exception:
        # One that cannot be read must not take the others of its name along.
        if gauge not in _broken:
            _broken.add(gauge)
            log.exception("a gauge cannot be read", gauge=gauge.name)
        return None
    return None if value is None else Observation(value, dict(gauge.attributes))
