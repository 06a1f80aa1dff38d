"""What every distribution and the repository have: a licence, links, one version, public indexes."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from argo_mw import __version__

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, *sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))]
EXAMPLES = sorted(file.parent for file in ROOT.glob("docs/examples/*/pyproject.toml"))
MAJOR, MINOR = (int(number) for number in __version__.split(".")[:2])
SERIES = f">={MAJOR}.{MINOR},<{MAJOR}.{MINOR + 1}"
"""What our distributions ask of each other, and examples of ours: a minor version may change hooks."""

_OURS = re.compile(r"(argo-mw(?:-[a-z-]+)?)(\[[a-z,-]+\])?(.*)")
_INDEX = re.compile(
    r"--(?:extra-)?index-url|--find-links=?\s*http|--trusted-host|(?:PIP|UV)_\w*(?:INDEX|FIND_LINKS)"
    r"|\[\[tool\.uv\.index\]\]|https?://(?!pypi\.org/)[^\s\"'<>)]*/simple(?=/?[\s\"']|$)"
)
"""What names a package index other than the public one."""


def table_of(project: Path) -> dict[str, object]:
    return tomllib.loads((project / "pyproject.toml").read_text("utf-8"))


def name_of(project: Path) -> str:
    return str(project.relative_to(ROOT)) if project != ROOT else "core"


def requirements_of(project: Path) -> list[str]:
    """The requirements that *project* states, extras included."""
    table = table_of(project)["project"]
    assert isinstance(table, dict)
    extras: dict[str, list[str]] = table.get("optional-dependencies", {})
    return [*table["dependencies"], *(one for several in extras.values() for one in several)]


@pytest.mark.parametrize("project", PROJECTS, ids=name_of)
def test_a_distribution_brings_the_licence(project: Path) -> None:
    table = table_of(project)["project"]
    assert isinstance(table, dict)
    assert "Apache-2.0" == table["license"]
    assert ["LICENSE"] == table["license-files"]
    assert (ROOT / "LICENSE").read_bytes() == (project / "LICENSE").read_bytes()


@pytest.mark.parametrize("project", PROJECTS, ids=name_of)
def test_a_distribution_says_where_it_comes_from(project: Path) -> None:
    table = table_of(project)["project"]
    assert isinstance(table, dict)
    core = table_of(ROOT)["project"]
    assert isinstance(core, dict)
    assert {"Homepage", "Changelog", "Issues"} == core["urls"].keys()
    assert core["urls"] == table["urls"]


@pytest.mark.parametrize("project", PROJECTS, ids=name_of)
def test_a_distribution_takes_its_version_from_the_core(project: Path) -> None:
    table = table_of(project)
    assert isinstance(table["project"], dict)
    assert isinstance(table["tool"], dict)
    assert "version" not in table["project"]
    assert ["version"] == table["project"]["dynamic"]
    source = project / table["tool"]["hatch"]["version"]["path"]
    assert ROOT / "argo_mw" / "__init__.py" == source.resolve()


@pytest.mark.parametrize("project", [*PROJECTS, *EXAMPLES], ids=name_of)
def test_a_distribution_binds_ours_to_its_minor_version(project: Path) -> None:
    ours = [found for one in requirements_of(project) if (found := _OURS.fullmatch(one))]
    # An extra that names another extra of the same wheel needs no range.
    bound = {found[0]: found[3] for found in ours if not (found[1] == "argo-mw" and found[2])}
    assert bound
    assert set(bound.values()) == {SERIES}
    assert project == ROOT or f"argo-mw{SERIES}" in bound


def test_no_file_names_a_package_index_of_its_own() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a checkout of git")
    found = {}
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file == Path(__file__) or not file.is_file():
            continue
        text = file.read_bytes().decode("utf-8", "ignore")
        if matches := sorted({one[0] for one in _INDEX.finditer(text)}):
            found[name] = matches
    assert {} == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pip install --index-url https://mirror.example/simple x", True),
        ('source = { registry = "https://mirror.example/root/simple" }', True),
        ('source = { registry = "https://pypi.org/simple" }', False),
        ("UV_DEFAULT_INDEX: somewhere", True),
        ("--find-links dist", False),
        ("https://api.example/simple/price", False),
    ],
)
def test_an_index_is_known_by_how_it_is_named(text: str, expected: bool) -> None:
    assert expected == bool(_INDEX.search(text))


def test_forms_and_workflows_can_be_read() -> None:
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) > 4
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text("utf-8")), dict), file


def test_each_supported_python_is_tested_by_the_workflow() -> None:
    from tests.matrix import PYTHONS

    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert list(PYTHONS) == workflow["jobs"]["pythons"]["strategy"]["matrix"]["python"]
    core = table_of(ROOT)["project"]
    assert isinstance(core, dict)
    assert f">={PYTHONS[0]}" == core["requires-python"]


def test_the_coverage_of_each_distribution_is_measured_and_has_a_gate() -> None:
    names = ["argo_mw", *(f"argo_mw_{project.name}" for project in PROJECTS[1:])]
    gates = tomllib.loads((ROOT / "tests/covered.toml").read_text("utf-8"))["gates"]
    tool = table_of(ROOT)["tool"]
    assert isinstance(tool, dict)
    assert names == list(gates) == tool["coverage"]["run"]["source_pkgs"]
