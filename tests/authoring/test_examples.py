"""The example plugins of the documentation are installed, and pass their own tests and lint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.authoring.conftest import Workshop

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAMES = sorted(project.parent.name for project in EXAMPLES.glob("*/pyproject.toml"))


@pytest.fixture(scope="module")
def workshop(
    open_workshop: Callable[[], Workshop],
) -> Workshop:
    workshop = open_workshop()
    for name in NAMES:
        # A copy: building leaves files behind.
        copy(EXAMPLES / name, workshop.home / name)
    workshop.install(*(workshop.home / name for name in NAMES))
    return workshop


def copy(source: Path, target: Path) -> None:
    for file in source.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())


def test_there_is_one_of_each_kind_that_people_ask_for() -> None:
    assert NAMES == ["bar_close", "finnhub", "pace"]


@pytest.mark.heavy
def test_they_show_up_and_take_their_places(workshop: Workshop) -> None:
    shown = json.loads(workshop.argo_mw("plugins", "--json"))
    assert shown["broken"] == []
    origins = {row["plugin"]: row["from"] for row in shown["plugins"]}
    for name in NAMES:
        assert origins[name] == f"argo-mw-{name.replace('_', '-')} 0.1.0"
    chain = shown["chain"]
    assert chain.index("cache") < chain.index("similarity") < chain.index("pace")


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_an_example_passes_its_own_tests_and_lint(workshop: Workshop, name: str) -> None:
    home = workshop.home / name
    assert " passed" in workshop.run("pytest", "-q", "-p", "no:cacheprovider", cwd=home)
    workshop.run("ruff", "check", "--no-cache", ".", cwd=home)
    workshop.run("ruff", "format", "--no-cache", "--check", ".", cwd=home)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name", [n if n != "bar_close" else pytest.param(n, marks=pytest.mark.soak) for n in NAMES]
)
def test_an_example_is_typed(workshop: Workshop, name: str) -> None:
    """The policy's imports pandas, which takes mypy half a minute."""
    workshop.run("mypy", "--strict", "-p", f"argo_mw_{name}")
