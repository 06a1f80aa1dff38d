"""The table ``[plugins.dashboard]``."""

from __future__ import annotations

from attrs import field, frozen, validators

PORT = 8420
"""The port of ``argo-mw dashboard``."""


@frozen
class DashboardConfig:
    """The table ``[plugins.dashboard]``.

    Attributes:
        port: The port on loopback at which a program serves the dashboard itself while it runs; 0
            takes a free one. By default only ``argo-mw dashboard`` serves it.
        hosts: Further host names under which the dashboard answers, such as that of your own proxy
            in front of it. Otherwise it answers only under those of loopback.
        open: Whether a program that serves it opens it in a browser at the start, and prints its
            address on standard error.
    """

    port: int | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(65_535)]),
    )
    hosts: tuple[str, ...] = ()
    open: bool = False
