"""Commands of plugins: found by entry points, and imported only when they are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from argo_mw.cli import ExitCode
from argo_mw.cli.main import cli
from argo_mw.registry.discovery import NO_COMMANDS

ROOT = Path(__file__).parents[2]

COMMAND = """
import click


@click.command()
def {name}() -> None:
    \"\"\"Show what {name} does. And more.\"\"\"
    click.echo("{name} ran")
"""

GROUP = """
import click


@click.group()
def shelf() -> None:
    \"\"\"Look at the shelf.\"\"\"


@shelf.command()
def top() -> None:
    \"\"\"Look at its top.\"\"\"
    click.echo("top")
"""

ADDS_TO_THE_GROUP = """
import click

from argo_mw.plugin import hookimpl


@click.command()
def bottom() -> None:
    click.echo("bottom")


@hookimpl
def register_commands(cli: click.Group) -> None:
    cli.commands["shelf"].add_command(bottom)
"""

ADDS_A_COMMAND = (
    COMMAND
    + """

from argo_mw.plugin import hookimpl


@hookimpl
def register_commands(cli: click.Group) -> None:
    cli.add_command({name})
"""
)


class Site:
    """A folder on the path with distributions in it, as pip installs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        source: str = "",
        *,
        commands: Mapping[str, str] | None = None,
        plugin: str = "",
    ) -> None:
        """Install a plugin whose module is *source*, and which declares *commands*."""
        module = f"site_{name}"
        (self.folder / f"{module}.py").write_text(source)
        (self.folder / f"{module}_plugin.py").write_text(plugin)
        lines = ["[argo_mw]", f"{name} = {module}_plugin"]
        if commands is not None:
            lines += ["[argo_mw.commands]", *(f"{k} = {v}" for k, v in commands.items())]
        write_distribution(self.folder, f"argo-mw-{name}", "\n".join(lines))


def write_distribution(folder: Path, name: str, entry_points: str) -> None:
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def hide_installed(folder: Path) -> None:
    """Hide installed plugins behind distributions of their names that have no entry points."""
    for one in entry_points(group="argo_mw"):
        assert one.dist is not None
        write_distribution(folder, one.dist.name, "")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    hide_installed(folder)
    monkeypatch.syspath_prepend(folder)
    for name in list(sys.modules):
        if name.startswith("site_"):
            monkeypatch.delitem(sys.modules, name)
    return Site(folder)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cli, "commands", dict(cli.commands))
    monkeypatch.chdir(tmp_path)

    def run_(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments)

    yield run_
    structlog.reset_defaults()


Run = Callable[..., Result]


def test_a_declared_command_is_listed_without_being_imported(site: Site, run: Run) -> None:
    site.install("lamp", COMMAND.format(name="lamp"), commands={"lamp": "site_lamp:lamp"})
    listed = run("--help")
    assert "lamp" in listed.stdout
    assert "Show what lamp does." in listed.stdout
    assert not any(name.startswith("site_lamp") for name in sys.modules)


def test_a_declared_command_runs_without_its_plugin(site: Site, run: Run) -> None:
    site.install("lamp", COMMAND.format(name="lamp"), commands={"lamp": "site_lamp:lamp"})
    assert "lamp ran\n" == run("lamp").stdout
    assert "site_lamp_plugin" not in sys.modules


def test_a_summary_that_is_no_docstring_is_read_from_the_command(site: Site, run: Run) -> None:
    source = "import click\nlamp = click.Command('lamp', help='Made by hand.')\n"
    site.install("lamp", source, commands={"lamp": "site_lamp:lamp"})
    assert "Made by hand." in run("--help").stdout


def test_a_hidden_command_stays_hidden(site: Site, run: Run) -> None:
    source = COMMAND.format(name="lamp").replace("command()", "command(hidden=True)")
    site.install("lamp", source, commands={"lamp": "site_lamp:lamp"})
    assert "lamp" not in run("--help").stdout
    assert "lamp ran\n" == run("lamp").stdout


def test_the_commands_of_a_blocked_plugin_are_not_there(site: Site, run: Run) -> None:
    site.install("lamp", COMMAND.format(name="lamp"), commands={"lamp": "site_lamp:lamp"})
    Path("argo.toml").write_text('[argo]\nblock = ["lamp"]\n')
    assert "lamp" not in run("--help").stdout
    assert ExitCode.USAGE == run("lamp").exit_code


def test_a_command_that_cannot_be_imported_says_so_and_the_others_are_there(
    site: Site, run: Run
) -> None:
    site.install("lamp", "import no_such_module\n", commands={"lamp": "site_lamp:lamp"})
    done = run("lamp")
    assert (ExitCode.FAILED, "") == (done.exit_code, done.stdout)
    assert "'lamp' of argo-mw-lamp 0.1.0 cannot be imported: ModuleNotFoundError" in done.stderr
    listed = run("--help")
    assert 0 == listed.exit_code
    assert "flags" in listed.stdout


def test_a_declared_thing_that_is_no_command_is_refused(site: Site, run: Run) -> None:
    site.install("lamp", "lamp = 'on'\n", commands={"lamp": "site_lamp:lamp"})
    done = run("lamp")
    assert ExitCode.FAILED == done.exit_code
    assert "is a str: site_lamp:lamp must be a click.Command" in done.stderr


def test_two_declared_commands_of_one_name_are_both_refused(site: Site, run: Run) -> None:
    for name in ("lamp", "torch"):
        site.install(name, COMMAND.format(name="light"), commands={"light": f"site_{name}:light"})
    done = run("light")
    assert ExitCode.USAGE == done.exit_code
    assert "that of both argo-mw-lamp 0.1.0 and argo-mw-torch 0.1.0" in done.stderr


def test_a_declared_command_does_not_take_a_name_of_the_core(site: Site, run: Run) -> None:
    site.install("lamp", COMMAND.format(name="flags"), commands={"flags": "site_lamp:flags"})
    done = run("--help")
    assert "'flags' of argo-mw-lamp 0.1.0 is not used" in done.stderr
    assert "flags ran" not in run("flags").stdout


def test_a_plugin_that_declares_none_is_asked_by_its_hook(site: Site, run: Run) -> None:
    site.install("lamp", plugin=ADDS_A_COMMAND.format(name="lamp"))
    assert "Show what lamp does." in run("--help").stdout
    assert "lamp ran\n" == run("lamp").stdout


def test_a_hook_does_not_take_the_name_that_another_plugin_declares(site: Site, run: Run) -> None:
    """Listing the commands and running one must agree, whatever was asked first."""
    site.install("lamp", COMMAND.format(name="lamp"), commands={"lamp": "site_lamp:lamp"})
    hook = ADDS_A_COMMAND.format(name="lamp").replace("lamp ran", "taken")
    site.install("torch", plugin=hook)
    for _ in range(2):
        assert "lamp ran\n" == run("lamp").stdout
        listed = run("--help")
        assert "Show what lamp does." in listed.stdout
        assert "'lamp' of plugin 'torch' is not used: it is that of argo-mw-lamp" in listed.stderr


def test_a_command_that_cannot_be_imported_hinders_no_hook(site: Site, run: Run) -> None:
    site.install("lamp", "import no_such_module\n", commands={"lamp": "site_lamp:lamp"})
    site.install("torch", plugin=ADDS_A_COMMAND.format(name="torch"))
    assert "torch ran\n" == run("torch").stdout
    assert "torch" in run("--help").stdout


def test_a_plugin_that_says_that_it_has_none_is_not_imported(site: Site, run: Run) -> None:
    site.install("lamp", plugin="raise SystemExit", commands={"lamp": NO_COMMANDS})
    done = run("--help")
    assert 0 == done.exit_code
    assert "lamp" not in done.output
    assert ExitCode.USAGE == run("lamp").exit_code


def test_a_hook_adds_to_the_group_that_another_plugin_declares(site: Site, run: Run) -> None:
    site.install("shelf", GROUP, commands={"shelf": "site_shelf:shelf"})
    site.install("cellar", plugin=ADDS_TO_THE_GROUP)
    assert "bottom\n" == run("shelf", "bottom").stdout
    assert "top\n" == run("shelf", "top").stdout


# What listing costs, with everything installed that this repository has.

HEAVY = {"argo_mw.app", "asyncio", "numpy", "pandas", "httpx2", "anthropic", "openai", "structlog"}
MOST_MODULES = 290
"""Modules of Python's own, of click, attrs and cattrs, and some 20 of ours: 0.18 s of CPU."""

COUNT = """
import sys
from argo_mw.cli.main import cli
try:
    cli({arguments!r}, prog_name="argo-mw")
except SystemExit as ended:
    assert not ended.code, ended.code
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


def modules_of(tmp_path: Path, *arguments: str) -> set[str]:
    """Return the modules that are imported to run a command in a process of its own."""
    site = tmp_path / "site"
    site.mkdir(exist_ok=True)
    hide_installed(site)
    for file in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(file.read_text())["project"]
        groups = project.get("entry-points", {})
        lines = []
        for group, points in groups.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        write_distribution(site, project["name"], "\n".join(lines))
    path = os.pathsep.join([str(site), *(p for p in sys.path if p)])
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(arguments=list(arguments))],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_imports_no_plugin_and_nothing_heavy(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    modules = modules_of(tmp_path, *arguments)
    assert set() == {one for one in modules if one.startswith("argo_mw_")}
    assert set() == modules & HEAVY
    assert len(modules) <= MOST_MODULES
