"""The table ``[plugins.dashboard]``."""

from __future__ import annotations

from attrs import field, frozen, validators

PORT = 8420
"""The port of ``argo-mw dashboard``."""


@frozen
class DashboardConfig:
    """The table ``[plugins.dashboard]``.

    Attributes:
        port: The port on loopback at which a program shows the dashboard itself, as long as it
            runs; 0 for any that is free. By default only ``argo-mw dashboard`` shows it.
        hosts: Further names under which it is reached, such as that of a proxy of your own in
            front of it. It answers under no name but these and those of loopback.
        open: Whether a program that shows it opens it in a browser, when it starts, and prints its
            address on standard error.
    """

    port: int | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(65_535)]),
    )
    hosts: tuple[str, ...] = ()
    open: bool = False
