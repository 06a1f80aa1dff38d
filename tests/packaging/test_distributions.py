"""Every distribution packs, installs into a clean environment, and works there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import click
import pytest

from argo_mw.registry.discovery import NO_COMMANDS, NO_FLAGS, OWN_FLAG
from tests.authoring.conftest import build, wheels

__all__ = ["wheels"]  # a fixture

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(p.parent for p in ROOT.glob("plugins/*/pyproject.toml"))
SLICE = (
    "adaptive_ttl",
    "cache",
    "coalesce",
    "compare",
    "llm",
    "market",
    "persist",
    "race",
    "sandbox",
    "signals",
    "similarity",
)

THIRD_PARTY = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "argo-mw-shout"
version = "0.1.0"
dependencies = ["argo-mw"]

[project.entry-points.argo_mw]
shout = "argo_mw_shout"
""",
    "argo_mw_shout/__init__.py": """
from argo_mw.plugin import Call, Layer, Next, Outcome, hookimpl


async def shout(call: Call, call_next: Next) -> Outcome:
    outcome = await call_next(call)
    return outcome.evolve(value=str(outcome.value).upper()).shaped_by("shout", "made it loud")


@hookimpl
def register_layers() -> list[Layer]:
    return [Layer("shout", shout, before=("coalesce",), serves=lambda op: op.name == "greet")]
""",
}

PROGRAM = """
import asyncio
from argo_mw import Argo

argo = Argo.open({"argo": {"shared": "memory://"}, "flags": {"shout": FLAG}})

@argo.wrap(name="greet", subject="name")
async def greet(name: str) -> str:
    return f"hello {name}"

async def main() -> None:
    async with argo:
        outcome = await argo.outcome("greet", name="world")
        print(outcome.value, *(layer for layer in outcome.via if layer == "shout"))

asyncio.run(main())
"""


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Path:
    """An environment with the demo's distributions and a third party's plugin, from wheels."""
    home = tmp_path_factory.mktemp("clean")
    venv.create(home / "env", with_pip=False)
    for name, content in THIRD_PARTY.items():
        (home / "shout" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "shout" / name).write_text(content)
    wanted = {"argo_mw", *(f"argo_mw_{name}" for name in SLICE)}
    found = [wheel for wheel in wheels if package(wheel) in wanted]
    # Python compiles what is imported, which is the least part of what is installed.
    pip(home, "install", "-q", "--no-compile", *found, *build(home, [home / "shout"]))
    return home


def pip(home: Path, *command: object) -> str:
    """What pip says of the environment in *home*, which has none of its own."""
    return run(sys.executable, "-m", "pip", "--python", home / "env" / "bin" / "python", *command)


def package(wheel: Path) -> str:
    """The name of the package that *wheel* holds."""
    return wheel.name.partition("-")[0]


def test_every_plugin_has_one_name_everywhere() -> None:
    """Folder, distribution, package and entry points follow from each other."""
    for project in PLUGINS:
        name = project.name
        table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        assert table["name"] == "argo-mw-" + name.replace("_", "-")
        assert table["entry-points"].keys() == {"argo_mw", "argo_mw.commands", "argo_mw.flags"}
        assert table["entry-points"]["argo_mw"].keys() == {name}
        assert (project / f"argo_mw_{name}" / "py.typed").exists()
        assert (project / "README.md").read_text().startswith("#")


def test_every_entry_point_can_be_loaded() -> None:
    for project in PLUGINS:
        table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        [(name, value)] = table["entry-points"]["argo_mw"].items()
        loaded = EntryPoint(name, value, "argo_mw").load()
        assert isinstance(loaded, type | ModuleType)
        for name, value in table["entry-points"]["argo_mw.commands"].items():
            command = EntryPoint(name, value, "argo_mw.commands").load()
            assert isinstance(command, click.Command) or value == NO_COMMANDS
        [(named, value)] = table["entry-points"]["argo_mw.flags"].items()
        knowing = EntryPoint(named, value, "argo_mw.flags").load()
        assert project.name == named
        assert callable(knowing) or value in {NO_FLAGS, OWN_FLAG}


@pytest.mark.heavy
def test_wheels_hold_their_package_and_nothing_else(wheels: list[Path]) -> None:
    import zipfile

    assert len(wheels) == len(PLUGINS) + 1
    for wheel in wheels:
        tops = {n.partition("/")[0] for n in zipfile.ZipFile(wheel).namelist()}
        assert {t for t in tops if not t.endswith(".dist-info")} == {package(wheel)}


@pytest.mark.heavy
def test_the_demo_runs_from_wheels_alone(clean: Path) -> None:
    """Away from the sources, with nothing but what the distributions declare."""
    printed = run(clean / "env" / "bin" / "argo-mw", "demo", "AAPL", cwd=clean)
    assert "AAPL" in printed
    assert "they agree" in printed
    installed = pip(clean, "list").lower()
    for heavy in ("torch", "scipy", "pytest", "hypothesis"):
        assert f"\n{heavy} " not in installed


@pytest.mark.heavy
@pytest.mark.parametrize(("flag", "printed"), [("on", "HELLO WORLD shout"), ("off", "hello world")])
def test_a_third_party_s_plugin_joins_by_entry_point(clean: Path, flag: str, printed: str) -> None:
    python = clean / "env" / "bin" / "python"
    program = PROGRAM.replace("FLAG", repr(flag))
    assert run(python, "-c", program, cwd=clean).strip() == printed


@pytest.mark.heavy
def test_a_third_party_s_plugin_gets_a_flag_and_a_place(clean: Path) -> None:
    printed = run(clean / "env" / "bin" / "argo-mw", "plugins", cwd=clean)
    assert "caller → shout → coalesce → cache" in printed
    assert "argo-mw-shout" in printed
