"""The first acceptable answer of several upstreams, at the least cost."""

from __future__ import annotations

from argo_mw_race.config import BreakerConfig, OperationRace, RaceConfig

__all__ = ["BreakerConfig", "OperationRace", "RaceConfig"]
