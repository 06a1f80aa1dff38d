"""Metrics: what is measured, and the values that were read of it at one moment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from attrs import field, frozen

from argo_mw.plugin import Histogram
from argo_mw_metrics.moment import Moment

Kind = Literal["counter", "gauge", "histogram"]

Labels = tuple[tuple[str, str], ...]
"""Attributes with their values."""

Point = tuple[tuple[str, ...], "float | Histogram"]
"""The values of a metric's attributes, in their order, and what was read."""

Read = Callable[[Moment], Iterable[Point]]
"""Reads the points of a metric."""

LONGEST_VALUE: Final = 128
"""Characters of an attribute's value at most."""

_SECONDS: Final = (
    *(1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 50.0),
)
_UNITS: Final = {"s": "seconds", "By": "bytes", "USD": "USD", "1": "ratio"}
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]+")


@frozen
class Metric:
    """One metric: a name, what it means, and how it is read.

    Attributes:
        name: Its name in OpenTelemetry's form, such as ``argo_mw.calls``.
        kind: What it is.
        unit: By UCUM: ``s``, ``By``, ``USD``, ``1``, or what is counted, in braces.
        description: One line without a full stop.
        attributes: The names of its attributes.
        read: Reads it; may give the same attributes twice, which are then added up.
        bounds: The upper bounds of the buckets in the Prometheus text, of a histogram.
        gen_ai: Whether it is one of OpenTelemetry's conventions for generative AI, opted into.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...]
    read: Read
    bounds: Sequence[float] = field(default=_SECONDS, kw_only=True)
    gen_ai: bool = field(default=False, kw_only=True)

    @property
    def sample(self) -> str:
        """The name that a query in PromQL selects it by: a counter's with ``_total``."""
        plain = prometheus_name(self.name, self.unit)
        return f"{plain}_total" if self.kind == "counter" else plain

    def reading(self, moment: Moment) -> Reading:
        """Return what was counted up to *moment*."""
        points: dict[Labels, float | Histogram] = {}
        for given, value in self.read(moment):
            pairs = zip(self.attributes, given, strict=True)
            labels = tuple((name, _bounded(text)) for name, text in pairs if text)
            before = points.get(labels)
            if isinstance(value, Histogram):
                if not isinstance(before, Histogram):
                    before = points[labels] = Histogram()
                before.merge(value)
            else:
                points[labels] = value + (before if isinstance(before, int | float) else 0)
        return Reading(self.name, self.kind, self.unit, self.description, points, self.bounds)


@frozen
class Reading:
    """What was read of one metric at one moment.

    Attributes:
        name: The metric's name.
        kind: What it is.
        unit: Its unit, by UCUM.
        description: One line without a full stop.
        points: What was read, by attributes; those that are empty are left out.
        bounds: The upper bounds of the buckets in the Prometheus text, of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    points: Mapping[Labels, float | Histogram]
    bounds: Sequence[float] = ()


def prometheus_name(name: str, unit: str) -> str:
    """Return how OpenTelemetry's exporters write *name*, of a metric in *unit*, for Prometheus."""
    plain = _NOT_IN_NAMES.sub("_", name)
    ending = _UNITS.get(unit)
    return f"{plain}_{ending}" if ending and not plain.endswith(f"_{ending}") else plain


def label_name(attribute: str) -> str:
    """Return how *attribute* is written as a label in the Prometheus text."""
    return _NOT_IN_NAMES.sub("_", attribute)


def _bounded(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
