"""What a command does, in a line, read from its source: help lists it without importing it."""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

_PLAIN = {"command", "group"}
_KNOWN = {"cls", "context_settings", "invoke_without_command", "name", "no_args_is_help"}
"""Arguments that change nothing about the summary."""


def docstring_of(command: EntryPoint) -> str | None:
    """Return the docstring of the function that is *command*, or ``None`` where that takes more.

    It takes more where the source is not at hand, where the command is not a function that is
    decorated in the module which the entry point names, or where its help is not a docstring.
    """
    path = source_of(command.module)
    if path is None:
        return None
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == command.attr:
            return ast.get_docstring(node) if _is_plain(node) else None
    return None


def source_of(module: str) -> Path | None:
    """Return the file of *module*, found without importing the packages that it is in."""
    package, *rest = module.split(".")
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    if not rest:
        return Path(found.origin) if found.origin is not None and found.has_location else None
    for folder in found.submodule_search_locations or ():
        path = Path(folder, *rest)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def _is_plain(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether the first decorator makes a command whose help is the docstring."""
    if not node.decorator_list:
        return False
    first = node.decorator_list[0]
    called, keywords = first, []
    if isinstance(first, ast.Call):
        called, keywords = first.func, first.keywords
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in _PLAIN and all(one.arg in _KNOWN for one in keywords)
