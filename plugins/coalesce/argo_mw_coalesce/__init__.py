"""Coalesce: equal calls that are asked at the same time share one flight."""

from argo_mw_coalesce.layer import Coalesce
from argo_mw_coalesce.plugin import CoalesceConfig

__all__ = ["Coalesce", "CoalesceConfig"]
