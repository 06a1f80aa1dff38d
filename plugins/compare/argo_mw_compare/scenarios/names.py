"""The names of all scenarios: the command line knows them without importing one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SCENARIOS: Final[Mapping[str, str]] = {
    "shared_cache": "SharedCache",
    "parallel_fetching": "ParallelFetching",
    "adaptive_life": "AdaptiveLife",
    "agentic_scripts": "AgenticScripts",
    "database": "Database",
}
"""The class of every scenario, whose module has the scenario's name."""
