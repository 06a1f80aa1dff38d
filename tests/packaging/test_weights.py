"""What plugins and extras weigh stays within bounds: raise one only for a reason."""

from __future__ import annotations

import sys

import pytest

from tests.packaging import weights

CORE = (500, 45)
PLUGINS = {
    "adaptive_ttl": (45, 6),
    "cache": (30, 4),
    "coalesce": (15, 3),
    "compare": (80, 6),
    "dashboard": (30, 4),
    "fleet": (25, 3),
    "gateway": (40, 4),
    "http": (35, 4),
    "llm": (150, 14),
    "market": (600, 105),
    "metrics": (65, 6),
    "persist": (85, 10),
    "race": (25, 3),
    "redis": (180, 16),
    "rollout": (175, 24),
    "sandbox": (30, 4),
    "signals": (570, 100),
    "similarity": (210, 40),
}
"""Modules that a plugin imports beside the core's, and MiB of memory that it takes at rest."""

EXTRAS = {
    "layers": (34, 175),
    "market": (42, 175),
    "signals": (43, 175),
    "llm": (58, 300),
    "http": (25, 45),
    "gateway": (60, 300),
    "dashboard": (24, 45),
    "metrics": (20, 45),
    "rollout": (20, 110),
    "fleet": (44, 85),
    "redis": (21, 45),
    "postgres": (20, 55),
    "demo": (74, 560),
    "all": (92, 560),
}
"""Distributions that an extra installs, and their megabytes."""


def test_every_plugin_and_extra_of_the_page_has_a_bound() -> None:
    assert set(weights.PLUGINS) == set(PLUGINS)
    assert set(weights.EXTRAS) == set(EXTRAS)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("name", PLUGINS)
def test_importing_a_plugin_takes_no_more_than_its_bound(name: str) -> None:
    core, added = weights.of_plugin(name)
    assert core.modules <= CORE[0]
    assert core.mebibytes <= CORE[1]
    modules, mebibytes = PLUGINS[name]
    assert added.modules <= modules
    assert added.mebibytes <= mebibytes


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_no_more_than_its_bound(extra: str) -> None:
    number, megabytes = weights.of_extra(extra)
    most, size = EXTRAS[extra]
    assert number <= most
    assert megabytes <= size
