"""The reference is complete, and nothing in it is gone from the code."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from argo_mw.config import structure
from argo_mw.registry import Plugins

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load(ROOT / "docs" / "generate.py")
GENERATED = sorted(p for p in REFERENCE.rglob("*.md") if "<!-- generated:" in p.read_text("utf-8"))
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md")
    for page in ROOT.glob(pattern)
    if page.parent.name != "changes"  # parts of the changelog, which links from where that is
)


def text(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration, state or variable of this machine counts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("ARGO_MW_CONFIG", raising=False)


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_a_generated_page_says_what_the_code_says(page: Path) -> None:
    """Run ``python docs/generate.py`` when it does not."""
    written = page.read_text("utf-8")
    assert generate.rewritten(written) == written


def test_every_generated_part_is_on_a_page() -> None:
    found = [n for page in GENERATED for n in re.findall(r"generated: (\w+)", page.read_text())]
    assert sorted(generate.BLOCKS) == sorted(found)


# A generated page cannot leave out what the generator sees; these see to it that it sees all, and
# that all of it is explained.


def tables() -> list[tuple[str, type]]:
    return [*generate.core_tables(), *generate.plugin_tables()]


@pytest.mark.parametrize(("name", "cls"), tables(), ids=str)
def test_every_configuration_key_is_explained(name: str, cls: type) -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", generate.keys(cls), re.MULTILINE)
    assert [] == [key for key, meaning in rows if not meaning.strip()], name


def test_every_plugin_with_a_configuration_is_there() -> None:
    configured = {p.parts[-3] for p in ROOT.glob("plugins/*/argo_mw_*/config.py")}
    documented = set(
        re.findall(r"^### `\[plugins\.(\w+)\]`", text("configuration.md"), re.MULTILINE)
    )
    assert configured - {"sandbox"} <= documented  # its SandboxConfig is not a table


@pytest.mark.parametrize("event", generate.event_types(), ids=lambda event: event.__name__)
def test_every_event_and_its_fields_are_explained(event: type) -> None:
    section = text("events.md").partition(f"## `{event.__name__}`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    fields = {one.name for one in msgspec.structs.fields(event)}
    assert fields == {name for name, meaning in rows if meaning}


def test_every_plugin_with_gauges_has_them_in_the_reference() -> None:
    """A gauge that the table lacks is one that nobody looks for."""
    have = {name for name, text in plugin_sources() if "def register_gauges" in text}
    listed = {name for names, _ in generate.plugin_gauges().values() for name in names.split(", ")}
    assert have == listed
    ours = {name for name in generate.plugin_gauges() if not name.startswith("db.client.")}
    assert {"argo_mw"} == {name.partition(".")[0] for name in ours}


_ACTION_AT = {"LayerActed": 1, "announce": 1, "_announce": 1, "_count_waste": 2}
"""Which argument of what announces a layer's action is the action."""


def plugin_sources() -> Iterator[tuple[str, str]]:
    """Yield the plugin and the text of each module."""
    for path in ROOT.glob("plugins/*/argo_mw_*/**/*.py"):
        yield path.relative_to(ROOT).parts[1], path.read_text("utf-8")


def plugin_trees() -> Iterator[tuple[str, ast.Module]]:
    return ((name, ast.parse(text)) for name, text in plugin_sources())


def texts(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value.strip()


def emitted() -> Iterator[tuple[str, str]]:
    """Layer and action of every announcement that the plugins' code spells out."""
    for layer, tree in plugin_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
                place = _ACTION_AT.get(str(name), len(node.args))
                for argument in node.args[place : place + 1]:
                    yield from ((layer, action) for action in texts(argument))


def documented_actions() -> set[tuple[str, str]]:
    rows = re.findall(r"^\| `(\w+)` \| (`.*?`) \| ", text("events.md"), re.MULTILINE)
    return {(layer, action) for layer, cell in rows for action in re.findall(r"`([^`]+)`", cell)}


def test_every_action_of_a_layer_is_documented() -> None:
    layers = {layer for layer, _ in documented_actions()}
    found = {(layer, action) for layer, action in emitted() if layer in layers and action}
    assert set() == found - documented_actions() - {("race", "breaker")}


def test_every_documented_action_is_in_the_code() -> None:
    written = {(layer, text) for layer, tree in plugin_trees() for text in texts(tree)}
    states = {("race", f"breaker {state}") for state in ("open", "half-open", "closed")}
    assert set() == documented_actions() - written - states


def modules() -> list[tuple[str, str]]:
    plugins = sorted(p.parent.name for p in ROOT.glob("plugins/*/pyproject.toml"))
    return [
        ("argo_mw", "argo_mw.md"),
        ("argo_mw.store", "store.md"),
        ("argo_mw.plugin", "plugin.md"),
        ("argo_mw.testing", "testing.md"),
        ("argo_mw.cli", "cli.md"),
        ("argo_mw.openfeature", "openfeature.md"),
        *((f"argo_mw_{name}", "plugins.md") for name in plugins),
    ]


SURFACES = ("argo_mw", "argo_mw.store", "argo_mw.plugin")
"""They export names of each other; a name is described for the first that exports it."""


def described_before(module: str) -> set[str]:
    before = SURFACES[: SURFACES.index(module)] if module in SURFACES else ()
    return {name for one in before for name in importlib.import_module(one).__all__}


@pytest.mark.parametrize(("module", "page"), modules())
def test_every_public_name_is_in_the_api_reference_once(module: str, page: str) -> None:
    written = re.findall(rf"^::: {module}\.(\w+)$", text(f"api/{page}"), re.MULTILINE)
    exported = set(getattr(importlib.import_module(module), "__all__", ()))
    assert sorted(exported - described_before(module)) == sorted(written)


# What pages say in passing.


@cache
def known_commands() -> dict[str, set[str]]:
    return {
        path: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        for path, command in generate.walk(generate.cli, "argo-mw")
    }


def mentioned_commands(page: Path) -> Iterator[str]:
    for found in re.finditer(
        r"(?:`|^\s*(?:\$ )?)(argo-mw [a-z][^`\n#|·]*)", page.read_text(), re.MULTILINE
    ):
        yield found[1].strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    known = known_commands()
    for line in mentioned_commands(page):
        words = line.split()
        path = words.pop(0)
        while words and f"{path} {words[0]}" in known:
            path = f"{path} {words.pop(0)}"
        assert path != "argo-mw", f"there is no command {line!r}"
        if path == "argo-mw signals":  # what is not a command of it is a symbol
            path = "argo-mw signals show"
        inside = any(other.startswith(f"{path} ") for other in known)
        assert not (inside and words and words[0].isalpha()), f"there is no command {line!r}"
        options = {w.partition("=")[0] for w in words if re.fullmatch(r"--[a-z-]+(=.*)?", w)}
        assert set() == options - known[path], line


def toml_blocks(page: Path) -> list[dict[str, object]]:
    found = re.findall(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [tomllib.loads(block) for block in found]


@cache
def installed() -> Plugins:
    """Load the plugins once for all pages."""
    return generate.installed()


@cache
def documented_flags() -> frozenset[str]:
    return frozenset(re.findall(r"^\| `([\w.]+)` \|", text("flags.md"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_tables_flags_and_upstreams_of_a_page_exist(page: Path) -> None:
    plugins, documented = installed(), documented_flags()
    for block in toml_blocks(page):
        for name, table in dict(block.get("plugins", {})).items():  # type: ignore[call-overload]
            if name in plugins.names:
                structure(table, plugins.config_class(name), where=f"{page.name} [plugins.{name}]")
        flags = set(dict(block.get("flags", {})))  # type: ignore[call-overload]
        if "docs/tutorial" not in str(page):
            assert set() == flags - documented
        upstreams = {f"upstream.{name}" for name in dict(block.get("upstreams", {}))}  # type: ignore[call-overload]
        assert set() == upstreams - documented


def test_the_figures_of_the_how_to_exist() -> None:
    """As Prometheus spells them: underscores, and the unit in the name."""
    source = "".join(text for _, text in plugin_sources())
    known = {name.replace(".", "_") for name in re.findall(r'"(argo\.[a-z_.]+)"', source)}
    page = (ROOT / "docs/how-to/metrics.md").read_text("utf-8")
    suffix = r"(_seconds)?(_bytes)?(_USD)?(_total|_bucket|_count|_sum)?$"
    written = {re.sub(suffix, "", name) for name in re.findall(r"\bargo_(?!mw)\w+", page)}
    assert set() == written - known
