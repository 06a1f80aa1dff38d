"""Mutants of Python files, by Cosmic Ray's operators, and samples of them that a seed repeats."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import TypeGuard

from attrs import frozen
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[2]
KINDS = {
    "comparison": re.compile(
        r"ReplaceComparisonOperator_(?!Is|\w+_Is)|ReplaceComparisonOperator_(Is_IsNot|IsNot_Is)"
    ),
    "arithmetic": re.compile(
        r"ReplaceBinaryOperator_(?!\w*(Bit|Shift|Pow))|ReplaceUnaryOperator_(USub_UAdd|Delete_USub)"
    ),
    "boolean": re.compile(
        r"Replace(And|Or|True|False)With|ReplaceUnaryOperator_Delete_Not|ReplaceComparisonOperator_In"
    ),
    "branch": re.compile(r"AddNot|Replace(Break|Continue)With|ZeroIterationForLoop"),
}
"""The operators of each kind. What tells identity from equality is left out: nothing else does."""


@frozen
class Mutant:
    """One change of one place.

    Attributes:
        file: Relative to the repository's folder.
        line: Where, from 1.
        column: Where in the line, from 0.
        kind: One of :data:`KINDS`.
        operator: Cosmic Ray's name of the operator.
        occurrence: Which of the places that the operator can change in this file.
    """

    file: Path
    line: int
    column: int
    kind: str
    operator: str
    occurrence: int

    @property
    def name(self) -> str:
        """Name it by what changes, and where in its line, whatever line that comes to stand in."""
        line = text_of(self.file).splitlines()[self.line - 1]
        column = 1 + self.column - (len(line) - len(line.lstrip()))
        return f"{self.file}: {line.strip()} [{self.operator.partition('/')[2]} at {column}]"

    def source(self) -> str:
        """Return the changed source."""
        code = mutate_code(text_of(self.file), get_operator(self.operator)(), self.occurrence)
        assert isinstance(code, str)
        return code


@cache
def text_of(file: Path) -> str:
    """Return the source of *file*, as it was when first asked for: somebody may work on it."""
    return (ROOT / file).read_text("utf-8")


def sample(files: Iterable[Path], size: int, seed: int) -> list[Mutant]:
    """Take *size* of the mutants of *files*: kinds in turn, and no place of a kind twice."""
    chance = random.Random(seed)
    kinds: dict[str, list[Mutant]] = {kind: [] for kind in KINDS}
    for file in sorted(files):
        for mutant in mutants(file):
            kinds[mutant.kind].append(mutant)
    for several in kinds.values():
        chance.shuffle(several)
    turns = zip_longest(*(distinct(several) for several in kinds.values()))
    return list(islice((one for turn in turns for one in turn if one), size))


def distinct(mutants: Iterable[Mutant]) -> Iterator[Mutant]:
    """Leave out all but the first of a place, and what is not Python."""
    places = set()
    for mutant in mutants:
        place = (mutant.file, mutant.line, mutant.column)
        if place not in places:
            try:
                compile(mutant.source(), str(mutant.file), "exec", dont_inherit=True)
            except SyntaxError:
                continue
            places.add(place)
            yield mutant


def mutants(file: Path) -> Iterator[Mutant]:
    """Find the mutants of *file*, without those that no run of it could notice."""
    text = text_of(file)
    tree, lines = get_ast(text), text.splitlines()
    left_out = list(_never_run(ast.parse(text)))
    for name in operator_names():
        kind = next((kind for kind, names in KINDS.items() if names.search(name)), None)
        if kind is None:
            continue
        operator = get_operator(name)()
        places = (place for node in ast_nodes(tree) for place in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if lines[start[0] - 1].startswith("*,", start[1]):
                continue  # a star among parameters, taken for a sign
            if not any(first <= start < last for first, last in left_out):
                yield Mutant(file, start[0], start[1], kind, name, occurrence)


_Place = tuple[int, int]


def _never_run(tree: ast.Module) -> Iterator[tuple[_Place, _Place]]:
    """Find annotations and protocols, which nothing evaluates, and asserts, for the type checker."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation:
            yield _span(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield _span(node.returns)
        elif isinstance(node, ast.Assert) or _for_types_alone(node) or _is_protocol(node):
            yield _span(node)


def _for_types_alone(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _is_protocol(node: ast.AST) -> TypeGuard[ast.ClassDef]:
    """Return whether *node* is a class that only says what others have."""
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    return any(ast.unparse(base).partition("[")[0] == "Protocol" for base in bases)


def _span(node: ast.expr | ast.stmt) -> tuple[_Place, _Place]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
