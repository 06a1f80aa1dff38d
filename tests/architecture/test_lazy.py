"""Packages that import their names at need: what runs and what is read are the same names."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

LAZY = ("argo_mw", "argo_mw.cli", "argo_mw.registry")


def read(package: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The names by module, as they are imported for type checkers, and as they are at need."""
    file = importlib.import_module(package).__file__
    assert file is not None
    [branch] = [n for n in ast.parse(Path(file).read_text("utf-8")).body if isinstance(n, ast.If)]
    imports = [one for one in branch.body if isinstance(one, ast.ImportFrom)]
    [call] = [n for n in ast.walk(ast.Module(branch.orelse, [])) if isinstance(n, ast.Call)]
    typed = {str(one.module): {alias.name for alias in one.names} for one in imports}
    lazy = {f"{package}.{home}": set(ns) for home, ns in ast.literal_eval(call.args[1]).items()}
    return typed, lazy


@pytest.mark.parametrize("package", LAZY)
def test_names_are_imported_from_where_a_type_checker_finds_them(package: str) -> None:
    typed, lazy = read(package)
    assert typed == lazy


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_there_and_listed(package: str) -> None:
    module = importlib.import_module(package)
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", LAZY)
def test_a_name_that_does_not_exist_is_an_error_as_for_any_module(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Argoo'"):
        _ = module.Argoo


def test_importing_the_package_imports_little() -> None:
    code = "import argo_mw, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {one for one in done.stdout.split() if one.startswith("argo_mw")}
    assert {"argo_mw", "argo_mw.base", "argo_mw.base.lazy"} == ours
