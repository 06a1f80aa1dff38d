"""Plugins use what the core exports, and nothing behind it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = {"argo_mw", "argo_mw.cli", "argo_mw.store", "argo_mw.testing"}
MODULES = sorted(p for p in ROOT.glob("plugins/*/argo_mw_*/**/*.py"))


def imported(module: Path) -> set[str]:
    """The modules of the core that *module* imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name == "argo_mw" or name.startswith("argo_mw.")}


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_plugin_imports_only_the_public_core(module: Path) -> None:
    assert imported(module) <= PUBLIC
