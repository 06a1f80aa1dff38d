"""The documentation is true: its code runs, its links work, its lists are complete."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from argo_mw import Argo
from argo_mw.app.application import engine_of
from argo_mw.config import parse
from argo_mw.registry import hooks

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md")
    for page in ROOT.glob(pattern)
    if page.parent.name != "changes"  # parts of the changelog, which links from where that is
)
_BLOCK = re.compile(
    r"^(?P<skip> *<!-- not run: .+? -->\n+)?(?P<indent> *)```(?P<language>\w*)\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\((?!https?://|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Return the page's blocks in *language*, except those that say why they are not run."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    kept = [m["code"] for m in found if m["language"] == language and not m["skip"]]
    return [textwrap.dedent(code) for code in kept]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run pages in an empty directory with a state of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    """Its ``text`` blocks show what it prints."""
    namespace: dict[str, object] = {"__name__": "__page__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), asyncio.Runner() as runner:
        for code in blocks(page, "python"):
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if "await" in code else 0
            result = eval(compile(code, str(page), "exec", flags), namespace)
            if inspect.iscoroutine(result):
                runner.run(result)
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    for expected in blocks(page, "text"):
        assert expected.strip().splitlines() == [s for s in lines if s in expected.splitlines()]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "toml")], ids=name)
def test_the_configuration_of_a_page_can_be_used(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(page, "toml"):
        for variable in re.findall(r"\$\{(\w+)\}", block):
            monkeypatch.setenv(variable, "x")
        table = tomllib.loads(block)
        if "project" not in table:
            parse(table)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in _LINK.findall(prose):
        assert (page.parent / target).exists(), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    """Exempt are output and drawings (text), and our own commands, which another test checks."""
    run = {"python", "toml", "text"}
    found = _BLOCK.finditer(page.read_text("utf-8"))
    others = [m["code"] for m in found if m["language"] not in run and not m["skip"]]
    assert [] == [code for code in others if not _is_ours(code)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_tested(page: Path) -> None:
    text = page.read_text("utf-8")
    fences = re.findall(r"^[ >]*(?:```|~~~)", text, re.MULTILINE)
    assert len(fences) == 2 * len(_BLOCK.findall(text))


def _questions(code: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the names of the operations that *code* asks, with the parameters that it gives."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for node in ast.walk(compile(code, "a page", "exec", flags)):
        asks = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if asks and node.func.attr in {"call", "outcome"} and node.args:
            assert isinstance(node.args[0], ast.Constant)
            yield node.args[0].value, {k.arg for k in node.keywords if k.arg is not None}


async def test_a_block_that_is_not_run_asks_operations_for_what_they_take() -> None:
    async with Argo.open({"argo": {"shared": "memory://"}}) as argo:
        operations = engine_of(argo).pipeline.operations
    found = [m for page in PAGES for m in _BLOCK.finditer(page.read_text("utf-8"))]
    skipped = [m["code"] for m in found if m["language"] == "python" and m["skip"]]
    asked = [one for code in skipped for one in _questions(textwrap.dedent(code))]
    known = [(name, given) for name, given in asked if name in operations]
    assert known
    for name, given in known:
        takes = operations[name].signature.parameters
        assert given <= takes.keys(), name


def _is_ours(code: str) -> bool:
    commands = re.findall(r"^\$ (.*)$", code, re.MULTILINE)
    return bool(commands) and all(re.search(r"\bargo-mw\b", command) for command in commands)


def _hooks() -> dict[str, list[str]]:
    functions = inspect.getmembers(hooks, inspect.isfunction)
    return {n: list(inspect.signature(f).parameters) for n, f in functions if f.__doc__}


def test_the_reference_names_every_hook_with_its_arguments() -> None:
    page = (ROOT / "docs/reference/hooks.md").read_text().partition("generated: plugin_hooks")[0]
    written = dict(re.findall(r"^### `(\w+)\(([\w, ]*)\)`$", page, re.MULTILINE))
    assert {n: ", ".join(a) for n, a in _hooks().items()} == written


@pytest.mark.parametrize("hook", sorted(_hooks()))
def test_the_reference_says_when_every_hook_is_called(hook: str) -> None:
    """The diagram or the text beside it names it."""
    introduction = (ROOT / "docs/reference/hooks.md").read_text().partition("## Of the core")[0]
    assert re.search(rf"\b{hook}\b", introduction)


@pytest.mark.parametrize("hook", sorted(_hooks()))
def test_every_hook_is_implemented_by_a_test(hook: str) -> None:
    """Each hook has a test that uses it."""
    tests = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("argo_mw/testing/*.py")]
    assert any(f"def {hook}(" in path.read_text("utf-8") for path in tests)


def test_the_readme_lists_every_plugin() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for project in ROOT.glob("plugins/*/pyproject.toml"):
        assert f"(plugins/{project.parent.name}/README.md)" in readme


def _rooms() -> str:
    return (ROOT / "docs/explanation/rooms.md").read_text("utf-8")


def test_the_map_of_the_core_shows_the_rooms_in_their_order() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one.get("containers") == ["argo_mw"])
    packages = [re.findall(r"\w+", layer) for layer in reversed(layers)]
    expected = [names for names in packages if names != ["plugin"]]
    table = _rooms().partition("| room |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert expected == [re.findall(r"`(\w+)`", cell) for cell in cells]


def test_the_map_of_the_core_names_modules_that_exist() -> None:
    of_the_core = "\n".join(row for row in _rooms().splitlines() if "`plugins/" not in row)
    modules = set(re.findall(r"`(?:argo_mw/)?(\w+/\w+\.py)`", of_the_core))
    assert len(modules) > 5
    assert [] == [name for name in modules if not (ROOT / "argo_mw" / name).exists()]


def test_the_map_of_the_core_names_files_and_functions_of_plugins_that_exist() -> None:
    rows = re.findall(r"^\|.*`plugins/(\w+)`: (.*)\|$", _rooms(), re.MULTILINE)
    assert len(rows) > 5
    for plugin, text in rows:
        package = ROOT / "plugins" / plugin / f"argo_mw_{plugin}"
        source = "".join(path.read_text("utf-8") for path in package.rglob("*.py"))
        for name in re.findall(r"`([\w./]+)`", text):
            known = (package / name).exists() if "." in name or "/" in name else name in source
            assert known, f"{plugin}: {name}"
