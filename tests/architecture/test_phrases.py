"""Texts name their subject: phrases that leave open who or what is meant are in none of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PHRASES = (
    "whoever",
    "those who ",
    "unless told",
    "by its own fault",
    "is told of",
    "told from",
    "that which",
    "in vain",
    "speaks for the",
    "has not so much",
    "further ado",
)
_PATTERN = re.compile("|".join(re.escape(one) for one in PHRASES), re.IGNORECASE)

FOLDERS = ("argo_mw", "docs", "plugins", "tests")
FILES = [
    file
    for file in (*ROOT.glob("*.*"), *(f for folder in FOLDERS for f in (ROOT / folder).rglob("*")))
    if file.suffix in {".py", ".md"} and file != Path(__file__)
]


def phrases_in(text: str) -> set[str]:
    """Return the phrases in *text*, even if a line ends within one, or a name is made of one."""
    return {found.lower() for found in _PATTERN.findall(" ".join(text.replace("_", " ").split()))}


def test_no_text_leaves_open_who_is_meant() -> None:
    found = {str(file.relative_to(ROOT)): phrases_in(file.read_text("utf-8")) for file in FILES}
    assert len(found) > 500
    assert {} == {file: phrases for file, phrases in found.items() if phrases}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Whoever asks", {"whoever"}),
        ("given to those\n    who wait", {"those who "}),
        ("It is told\nof each", {"is told of"}),
        ("def test_those_who_wait():", {"those who "}),
        ("those whose call failed", set()),
    ],
)
def test_phrases_are_found_across_lines_and_in_any_case(text: str, expected: set[str]) -> None:
    assert expected == phrases_in(text)
