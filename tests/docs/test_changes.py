"""What changed is written in files that the changelog is made of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRAGMENTS = sorted(ROOT.glob("docs/changes/*.md"))
TYPES = [
    one["directory"]
    for one in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"][
        "type"
    ]
]
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)")


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda one: one.name)
def test_a_change_has_a_name_a_type_and_a_text(fragment: Path) -> None:
    assert re.fullmatch(rf"\+[a-z0-9-]+\.({'|'.join(TYPES)})\.md", fragment.name)
    text = fragment.read_text("utf-8").strip()
    assert text.endswith(".")
    assert not text.startswith(("-", "*", "#"))


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda one: one.name)
def test_its_links_start_at_the_repository(fragment: Path) -> None:
    links = _LINK.findall(fragment.read_text("utf-8"))
    assert [] == [link for link in links if not (ROOT / link).exists()]


def test_the_changelog_says_where_news_go_and_holds_none_by_hand() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert 1 == changelog.count("<!-- news -->\n")
    assert "unreleased" not in changelog.lower()
