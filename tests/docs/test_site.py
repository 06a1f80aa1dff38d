"""The documentation site can be built, and has no dead link or anchor."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(root: Path, work: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "docs" / "build.py"), "--work", str(work)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.heavy
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    ended = build(ROOT, tmp_path)
    assert (0, "") == (ended.returncode, ended.stderr)
    page = tmp_path / "site" / "reference" / "api" / "argo_mw" / "index.html"
    assert "A chain of plugins around every call" in page.read_text("utf-8")
    news = (tmp_path / "site" / "changelog" / "index.html").read_text("utf-8")
    assert "Not released yet" in news


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[a page](nowhere.md)", "page does not exist"),
        ("[an anchor](reference/hooks.md#nowhere)", "anchor does not exist"),
        ("::: argo_mw.Nobody", "could not be found"),
    ],
)
def test_a_dead_link_ends_the_build(line: str, complaint: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "docs" / "reference").mkdir(parents=True)
    for name in ("mkdocs.yml", "docs/build.py", "docs/roles.py", "docs/reference/hooks.md"):
        (root / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        (root / name).write_text("# Page\n", "utf-8")
    nothing_else = "nav:\n  - index.md\n\nmarkdown_extensions:"
    config = (root / "mkdocs.yml").read_text("utf-8")
    before, _, after = config.partition("nav:")
    after = after.partition("markdown_extensions:")[2]
    (root / "mkdocs.yml").write_text(before + nothing_else + after, "utf-8")
    (root / "docs" / "index.md").write_text(f"# Page\n\n{line}\n", "utf-8")
    ended = build(root, tmp_path / "work")
    assert 1 == ended.returncode
    assert complaint in ended.stderr


def test_every_page_is_in_the_navigation() -> None:
    """Exempt are the decisions, which have an index of their own, and parts of the changelog."""
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("nav:")[2]
    docs = ROOT / "docs"
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")}
    pages |= {f"plugins/{page.parent.name}.md" for page in ROOT.glob("plugins/*/README.md")}
    listed = {name for name in pages if f"- {name}\n" in navigation}
    elsewhere = ("changes/", "decisions/", "examples/")
    left = {name for name in pages - listed if not name.startswith(elsewhere)}
    assert set() == left


def test_every_decision_is_in_its_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text("utf-8")
    decisions = [p.name for p in ROOT.glob("docs/decisions/*.md") if p.name != "README.md"]
    assert [] == [name for name in decisions if f"({name})" not in index]


def test_every_decision_states_its_status_and_its_day() -> None:
    stated = re.compile(
        r"# .+\n\n\*(Accepted|Superseded by .+) on \d{1,2} [A-Z][a-z]+ \d{4}\.\*\n\n"
    )
    decisions = [p for p in ROOT.glob("docs/decisions/*.md") if p.name != "README.md"]
    assert [] == [p.name for p in decisions if not stated.match(p.read_text("utf-8"))]
