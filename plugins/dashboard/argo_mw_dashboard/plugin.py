"""What the plugin registers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from argo_mw.cli import say
from argo_mw.plugin import Context, Log, hookimpl
from argo_mw_dashboard.config import DashboardConfig

if TYPE_CHECKING:
    from argo_mw_dashboard.serving import Dashboard

log = Log("argo_mw")


class DashboardPlugin:
    """The plugin; it owns the dashboard that its program shows.

    Attributes:
        shown: The dashboard, or ``None`` while this program shows none.
    """

    def __init__(self) -> None:
        self.shown: Dashboard | None = None

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.dashboard]``."""
        return DashboardConfig

    @hookimpl
    async def startup(self, config: DashboardConfig, context: Context) -> None:
        """Show the dashboard, if a port is configured.

        Raises:
            ConfigError: It cannot be shown there.
        """
        if config.port is not None and context.serves:
            await self._show(config, context, config.port)

    @hookimpl
    async def shutdown(self) -> None:
        """Stop showing the dashboard."""
        if self.shown is not None:
            await self.shown.aclose()

    async def _show(self, config: DashboardConfig, context: Context, port: int) -> None:
        # Here, so that programs that show no dashboard load no web server.
        from argo_mw_dashboard.serving import Dashboard, PortTaken, open_in_browser

        try:
            self.shown = await Dashboard.show(context, port, hosts=config.hosts)
        except PortTaken:
            log.info("another program shows the dashboard at this port already", port=port)
            return
        log.info("the dashboard is shown", url=self.shown.address)
        if config.open:
            # Printed as well, since the user may have no browser on this machine.
            say(f"the dashboard is at {self.shown.url}")
            await asyncio.to_thread(open_in_browser, self.shown.url, context.state_dir)
