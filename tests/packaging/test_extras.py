"""One name installs what belongs together: the extras of the core and what they bring."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = CORE["optional-dependencies"]
PLUGINS = {
    table["name"]: table
    for file in ROOT.glob("plugins/*/pyproject.toml")
    for table in [tomllib.loads(file.read_text("utf-8"))["project"]]
}
FOR_DEVELOPERS = {"argo-mw-compare", "argo-mw-sandbox"}
"""What plays vendors and measures: in `demo`, and no part of `all`."""


def named(extra: str) -> set[str]:
    """The distributions of ours that *extra* names, directly or through other extras."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        if inner := re.fullmatch(r"argo-mw\[(.+)\]", requirement):
            for one in inner[1].split(","):
                found |= named(one)
        elif requirement.startswith("argo-mw-"):
            found.add(_name(requirement))
    return found


def needed(extra: str) -> set[str]:
    """The names of everything that *extra* needs, as far as our own metadata say."""
    found = {_name(one) for one in CORE["dependencies"] + EXTRAS[extra]}
    for plugin in named(extra):
        found |= {_name(one) for one in PLUGINS[plugin]["dependencies"]}
    return found


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ;]", requirement)[0].lower()


def test_all_names_every_plugin_that_is_not_for_developers() -> None:
    assert PLUGINS.keys() - FOR_DEVELOPERS == named("all")


def test_every_plugin_belongs_to_an_extra_beside_all() -> None:
    others = set().union(*(named(extra) for extra in EXTRAS if extra != "all"))
    assert PLUGINS.keys() == others


@pytest.mark.parametrize("extra", ["signals", "market", "llm", "redis", "postgres", "rollout"])
def test_the_extra_brings_its_plugin(extra: str) -> None:
    own = {"postgres": "persist"}.get(extra, extra)
    assert f"argo-mw-{own}" in named(extra)


@pytest.mark.parametrize("extra", ["market", "signals"])
def test_prices_and_signals_need_no_language_model(extra: str) -> None:
    heavy = {"anthropic", "openai", "torch", "sentence-transformers", "onnxruntime", "faiss-cpu"}
    assert set() == needed(extra) & heavy


def test_no_extra_needs_torch() -> None:
    assert not any(needed(extra) & {"torch", "sentence-transformers"} for extra in EXTRAS)


def test_every_distribution_is_part_of_the_workspace() -> None:
    """uv must take what an extra names from here, and not from an index."""
    sources = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["sources"]
    assert {"argo-mw", *PLUGINS} == set(sources)


def test_the_group_of_development_is_what_tests_require() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    lines = (ROOT / "tests" / "requirements.txt").read_text("utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert listed == groups["dev"], "bring the group in pyproject.toml up to date, and `make lock`"


def test_the_lock_holds_versions_that_tests_are_known_to_pass_with() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    locked = {one["name"]: one.get("version") for one in packages}
    assert locked.keys() >= {"argo-mw", *PLUGINS}
    pinned = dict(
        line.split("==")
        for line in (ROOT / "tests" / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    )
    names = {name: re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    expected = {names[n]: version for n, version in pinned.items() if names[n] in locked}
    assert expected == {name: locked[name] for name in expected}, (
        "bring uv.lock up to date: make lock"
    )
