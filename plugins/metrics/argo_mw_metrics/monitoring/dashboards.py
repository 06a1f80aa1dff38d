"""The dashboards."""

from __future__ import annotations

from typing import Final

from argo_mw_metrics.monitoring.models import MODELS
from argo_mw_metrics.monitoring.overview import OVERVIEW
from argo_mw_metrics.monitoring.rollout import ROLLOUT
from argo_mw_metrics.monitoring.upstreams import UPSTREAMS

DASHBOARDS: Final = (OVERVIEW, UPSTREAMS, MODELS, ROLLOUT)
"""All dashboards."""
