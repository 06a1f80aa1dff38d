"""Change functions that are imported already, where a mutant changes no more than their bodies."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType

from tests.mutants.sample import ROOT, Mutant, text_of

Function = ast.FunctionDef | ast.AsyncFunctionDef


def statement(mutant: Mutant) -> range:
    """Return the lines of the statement that *mutant* changes; of one with a block, its head's."""
    found = max(
        (one for one in _around(_tree(mutant.file), mutant) if isinstance(one, ast.stmt)),
        key=lambda one: (one.lineno, one.col_offset),
    )
    block: list[ast.stmt] = getattr(found, "body", [])
    assert found.end_lineno is not None
    return range(found.lineno, block[0].lineno if block else found.end_lineno + 1)


def changed(mutant: Mutant) -> list[CodeType]:
    """Return the code of the function that *mutant* changes, and of those inside it.

    None if it changes what runs at import: a default, a decorator, a class or the module itself.
    """
    function = next(
        (f for f in _around(_tree(mutant.file), mutant) if isinstance(f, Function)), None
    )
    if function is None or not _in_body(function, mutant):
        return []
    file = ROOT / mutant.file
    module = compile(mutant.source(), str(file), "exec", dont_inherit=True)
    first, _ = _begin(function)
    return next(
        list(_with_inner(code))
        for code in _with_inner(module)
        if (code.co_firstlineno, code.co_name) == (first, function.name)
    )


def put(codes: Iterable[CodeType]) -> bool:
    """Give the functions of these places *codes*; false if one is not there or does not fit."""
    by_place = {_place(code): code for code in codes}
    there = [
        one
        for one in gc.get_objects()
        if isinstance(one, FunctionType) and _place(one.__code__) in by_place
    ]
    for function in there:
        code = by_place[_place(function.__code__)]
        if code.co_freevars != function.__code__.co_freevars:
            return False
        function.__code__ = code
    return bool(there)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(text_of(file))


def _around(tree: ast.Module, mutant: Mutant) -> Iterator[ast.expr | ast.stmt]:
    """Find what holds the place of *mutant*, from outside in."""
    place = (mutant.line, mutant.column)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt):
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            if _begin(node) <= place < (node.end_lineno, node.end_col_offset):
                yield node


def _begin(node: ast.expr | ast.stmt) -> tuple[int, int]:
    """Return where *node* begins, with its decorators."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min((one.lineno, one.col_offset) for one in [node, *decorators])


def _in_body(function: Function, mutant: Mutant) -> bool:
    begin = function.body[0]
    return (begin.lineno, begin.col_offset) <= (mutant.line, mutant.column)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _with_inner(one)


def _place(code: CodeType) -> tuple[str, str, int]:
    return (code.co_filename, code.co_qualname, code.co_firstlineno)
