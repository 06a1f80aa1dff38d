"""The sampler: reads all metrics of one application, whichever thread asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final, TypeVar, cast
from weakref import WeakSet

from argo_mw.plugin import Gauge, Log
from argo_mw_metrics.catalog import CATALOG
from argo_mw_metrics.metric import Labels, Metric, Reading
from argo_mw_metrics.moment import Moment, Moments

log = Log("argo_mw")

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that a thread waits for the event loop, which may be busy."""

_broken: WeakSet[Gauge] = WeakSet()


class Sampler:
    """Reads the metrics of one application.

    What the chain counts changes on the event loop, so a moment of it is taken there; that costs
    some microseconds for each operation. The rest is the reader's own time, and its thread's.

    Args:
        moments: Takes moments.
        gauges: Current values that plugins offer.
        gen_ai: Whether the conventions for generative AI are opted into.
        clock: Returns monotonic seconds, to tell how old a moment is.

    Attributes:
        metrics: The metrics of the chain.
        gauges: The gauges, by name.
    """

    def __init__(
        self,
        moments: Moments,
        gauges: Iterable[Gauge],
        *,
        gen_ai: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._moments = moments
        self.gauges = _by_name(gauges)
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._latest: Moment | None = None
        self._taken = 0.0
        self.metrics: Sequence[Metric] = [one for one in CATALOG if gen_ai or not one.gen_ai]

    def moment(self, age: float = 0.0) -> Moment:
        """Return this moment, or the one that was taken last up to *age* seconds ago.

        Raises:
            TimeoutError: The event loop did not come to it in time.
            RuntimeError: The event loop is closed.
        """
        latest = self._latest
        if latest is None or self._clock() - self._taken >= age:
            latest = self._latest = on_loop(self._loop, self._moments.take)
            self._taken = self._clock()
        return latest

    def readings(self, moment: Moment | None = None) -> list[Reading]:
        """Return all metrics of *moment*, by default of now, and all gauges as they are now.

        Raises:
            TimeoutError: The event loop did not come to it in time.
            RuntimeError: The event loop is closed.
        """
        moment = moment or self.moment()
        read = [metric.reading(moment) for metric in self.metrics]
        return read + [self.gauge(name) for name in self.gauges]

    def gauge(self, name: str) -> Reading:
        """Return the gauges called *name* as they are now."""
        gauges = self.gauges[name]
        points: dict[Labels, float] = {}
        for gauge in gauges:
            value = _read(gauge)
            if value is not None:
                points[tuple(sorted(gauge.attributes.items()))] = value
        return Reading(name, "gauge", gauges[0].unit, gauges[0].description, points)


def flatten(answers: Mapping[str, object]) -> list[Gauge]:
    """Return all gauges in the *answers* of plugins to ``register_gauges``."""
    return [gauge for some in answers.values() for gauge in cast("Iterable[Gauge]", some)]


def _by_name(gauges: Iterable[Gauge]) -> Mapping[str, Sequence[Gauge]]:
    found: dict[str, list[Gauge]] = {}
    for gauge in gauges:
        found.setdefault(gauge.name, []).append(gauge)
    return found


def _read(gauge: Gauge) -> float | None:
    """Return the current value of *gauge*; ``None`` where there is none, or it cannot be read."""
    try:
        return gauge.read()
    except Exception:
        # The others of the same name are read all the same.
        if gauge not in _broken:
            _broken.add(gauge)
            log.exception("a gauge cannot be read", gauge=gauge.name)
        return None


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """Return what *function* returns on *loop*, from whatever thread this is called.

    Raises:
        TimeoutError: *loop* did not come to it within five seconds.
        RuntimeError: *loop* is closed.
    """
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is loop:
        return function()
    answer: Future[T] = Future()

    def run() -> None:
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

    loop.call_soon_threadsafe(run)
    try:
        return answer.result(PATIENCE)
    except TimeoutError:
        answer.cancel()
        raise
