"""Checks of what comes from outside hold under ``python -O`` too, which drops every ``assert``."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_package_relies_on_a_failed_assert() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{handler.lineno}"
        for path in (*ROOT.glob("argo_mw/**/*.py"), *ROOT.glob("plugins/*/argo_mw_*/**/*.py"))
        for handler in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(handler, ast.ExceptHandler) and handler.type is not None
        if any(
            isinstance(name, ast.Name) and name.id == "AssertionError"
            for name in ast.walk(handler.type)
        )
    ]
    assert [] == found
