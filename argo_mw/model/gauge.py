"""Gauges: current values, for monitoring."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import Factory, frozen


@frozen(eq=False)
class Gauge:
    """A current value, such as the length of a queue.

    Several gauges may have one name, each with attributes of its own; units and descriptions are
    then the same.

    Attributes:
        name: By OpenTelemetry's conventions: ``argo_mw.PLUGIN.WHAT``, or the name that they give to
            such a value, as ``db.client.connection.count``.
        read: Return the current value, or ``None`` while there is none. Called on collection,
            from any thread: it must neither wait nor change anything.
        unit: By UCUM: ``By`` for bytes, ``s`` for seconds, ``{record}`` for counts,
            ``1`` for shares of a whole, "" for the rest.
        description: One line without a full stop.
        attributes: What distinguishes it from others of its name, with few possible values:
            never subjects or tenants.
    """

    name: str
    read: Callable[[], float | None]
    unit: str = ""
    description: str = ""
    attributes: Mapping[str, str] = Factory(dict)
