"""Every promise has a scope, and a test that holds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/guarantees.md"
HEADER = "| promise | scope | test |"
SCOPES = ("a process", "a machine", "a fleet")
_TESTS = re.compile(r"`([\w./]+\.py(?:::\w+)+)`")
_NOT_RUN = re.compile(r"pytest\.mark\.(xfail|skip|skipif|soak)\b")


@frozen
class Row:
    """A promise as the page makes it."""

    promise: str
    scope: str
    tests: tuple[str, ...]


def rows(page: str) -> list[Row]:
    """Return the promises of a page.

    Raises:
        ValueError: A row is malformed.
    """
    found = []
    for table in page.split(HEADER)[1:]:
        for line in table.strip().partition("\n\n")[0].splitlines()[1:]:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if len(cells) != 3 or not all(cells):
                raise ValueError(f"not three cells: {line}")
            if not cells[1].startswith(SCOPES):
                raise ValueError(f"a scope begins with one of {SCOPES}: {line}")
            tests = _TESTS.findall(cells[2])
            if not tests or _TESTS.sub("", cells[2]).strip():
                raise ValueError(f"a test is written `path::name`: {line}")
            found.append(Row(cells[0], cells[1], tuple(tests)))
    return found


def why_not_run(test: str) -> str | None:
    """Return why *test* does not hold anything in ``.ci/run``, or ``None``."""
    path, _, names = test.partition("::")
    file = ROOT / path
    if not file.is_file():
        return f"there is no {path}"
    module = ast.parse(file.read_text("utf-8"))
    body: list[ast.stmt] = module.body
    marks = [node.value for node in body if isinstance(node, ast.Assign) and _marks(node)]
    for name in names.split("::"):
        node = next((one for one in body if getattr(one, "name", "") == name), None)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return f"{path} has no {name}"
        marks += node.decorator_list
        body = node.body
    last = names.rpartition("::")[2]
    if not last.startswith(("test_", "Test")):
        return f"{last} is not collected"
    text = " ".join(ast.unparse(mark) for mark in marks)
    unrun = _NOT_RUN.search(re.sub(r"pytest\.param\(.*", "", text))
    if unrun:
        return f"{test} is marked {unrun[1]}"
    if file.name.startswith("test_"):
        return None
    return None if _is_subclassed(names.partition("::")[0]) else f"no test uses {names}"


def _marks(node: ast.Assign) -> bool:
    return ast.unparse(node.targets[0]) == "pytestmark"


def _is_subclassed(suite: str) -> bool:
    """Return whether a test class extends *suite*, which is given to authors to do so."""
    tests = [*ROOT.glob("plugins/*/tests/test_*.py"), *ROOT.glob("tests/*/test_*.py")]
    extends = re.compile(rf"^class Test\w*\(.*\b{suite}\b.*\)", re.MULTILINE)
    return any(extends.search(path.read_text("utf-8")) for path in tests)


PROMISES = rows(PAGE.read_text("utf-8"))


def test_there_are_promises() -> None:
    assert len(PROMISES) > 15
    assert len({row.promise for row in PROMISES}) == len(PROMISES)


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row.promise[:60])
def test_a_promise_has_tests_that_are_run(row: Row) -> None:
    assert [] == [why for test in row.tests if (why := why_not_run(test)) is not None]


@pytest.mark.parametrize(
    "row",
    [
        "| It rains | a process | |",
        "| It rains | a process | tests/docs/test_docs.py::test_it |",
        "| It rains | a process | `tests/docs/test_docs.py` |",
        "| It rains | mostly | `tests/docs/test_docs.py::test_it` |",
        "| It rains | `tests/docs/test_docs.py::test_it` |",
        "| | a process | `tests/docs/test_docs.py::test_it` |",
        "| It rains | a process | `tests/docs/test_docs.py::test_it` and others |",
    ],
)
def test_a_malformed_row_is_found(row: str) -> None:
    with pytest.raises(ValueError, match="cells|scope|written"):
        rows(f"{HEADER}\n|---|---|---|\n{row}\n\nMore.\n")


HERE = "tests/docs/test_guarantees.py"


@pytest.mark.skipif(False, reason="for the test below")
def test_that_may_be_skipped() -> None:
    """Runs, but says that it may not."""


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("tests/docs/test_nothing.py::test_it", "there is no"),
        (f"{HERE}::test_nothing", "has no test_nothing"),
        (f"{HERE}::rows", "is not collected"),
        (f"{HERE}::Row", "is not collected"),
        (f"{HERE}::test_that_may_be_skipped", "is marked"),
        ("tests/model/test_model.py::test_promises_hold_for_a_hundred_thousand_steps", "is marked"),
        ("argo_mw/testing/upstreams.py::Scripted", "is not collected"),
    ],
)
def test_a_test_that_holds_nothing_is_found(test: str, why: str) -> None:
    assert why in str(why_not_run(test))
