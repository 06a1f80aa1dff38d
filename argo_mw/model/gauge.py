"""Gauges: figures that stand at something, for whoever watches the application."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import Factory, frozen


@frozen(eq=False)
class Gauge:
    """A figure that stands at something now, such as how full a queue is.

    Several gauges may have one name, each with attributes of its own; units and descriptions are
    then the same.

    Attributes:
        name: By OpenTelemetry's conventions: ``argo.PLUGIN.WHAT``, or the name that they give to
            such a figure, as ``db.client.connection.count``.
        read: What it stands at, or ``None`` while there is nothing to say. Called when somebody
            looks, from any thread: it must neither wait nor change anything.
        unit: By UCUM: ``By`` for bytes, ``s`` for seconds, ``{record}`` for what is counted,
            ``1`` for shares of a whole, nothing for the rest.
        description: One line without a full stop.
        attributes: What distinguishes it from others of its name: names of a handful of things,
            never subjects or tenants.
    """

    name: str
    read: Callable[[], float | None]
    unit: str = ""
    description: str = ""
    attributes: Mapping[str, str] = Factory(dict)
