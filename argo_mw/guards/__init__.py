"""The core's own guards."""

from argo_mw.guards.quota import Quota

__all__ = ["Quota"]
