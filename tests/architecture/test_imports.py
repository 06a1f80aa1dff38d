"""Plugins import the core's public surfaces, what those export, and nothing behind them."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SURFACES = {"argo_mw", "argo_mw.plugin", "argo_mw.store", "argo_mw.cli"}
FOR_TESTS = "argo_mw.testing"
"""A surface too, for modules that are called ``testing`` themselves: it needs pytest."""

MODULES = sorted(
    [*ROOT.glob("plugins/*/argo_mw_*/**/*.py"), *ROOT.glob("docs/examples/*/argo_mw_*/**/*.py")]
)


def named(module: Path) -> str:
    return str(module.relative_to(ROOT))


def imported(module: Path) -> Iterator[tuple[str, str]]:
    """The names that *module* imports from the core, each with the core's module."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        else:
            continue
        yield from (one for one in found if one[0].partition(".")[0] == "argo_mw")


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_plugin_imports_only_public_surfaces(module: Path) -> None:
    surfaces = SURFACES | ({FOR_TESTS} if module.stem == "testing" else set())
    assert set() == {source for source, _ in imported(module)} - surfaces


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_plugin_imports_only_what_surfaces_export(module: Path) -> None:
    missing = {
        f"{source}.{name}"
        for source, name in imported(module)
        if source in SURFACES and name not in importlib.import_module(source).__all__
    }
    assert set() == missing
