"""What the plugin and its command have in common: the dashboard that a program shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argo_mw_dashboard.serving import Dashboard


class Shows:
    """The base of the plugin's class, by which the command finds what its program shows.

    Attributes:
        shown: The dashboard, or ``None`` while this program shows none.
    """

    def __init__(self) -> None:
        self.shown: Dashboard | None = None
