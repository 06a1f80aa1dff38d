"""The dashboard: what running programs do now, in the browser."""

from argo_mw_dashboard.config import DashboardConfig
from argo_mw_dashboard.plugin import DashboardPlugin

__all__ = ["DashboardConfig", "DashboardPlugin"]
