"""A clean directory outside the repository, with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What `python -m build --wheel --no-isolation` asks of each, without a process for it.
BUILD = """
import os, sys
from hatchling.build import build_wheel

folder, *projects = sys.argv[1:]
for project in projects:
    os.chdir(project)
    build_wheel(folder)
"""


class Workshop:
    """A clean directory with an environment, in which plugins can be installed.

    argo-mw and its plugins are installed from wheels. The rest is borrowed from the environment
    that the tests run in, so that nothing is downloaded.
    """

    def __init__(self, home: Path, wheels: Iterable[Path]) -> None:
        self.home = home
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._environment = environment | {"ARGO_MW_STATE_DIR": str(home / "state")}
        venv.create(home / "env", with_pip=False)
        self.python = home / "env" / "bin" / "python"
        site = next((home / "env" / "lib").glob("python*/site-packages"))
        borrowed = sysconfig.get_path("purelib")
        (home / "argo_mw_command.py").write_text("from argo_mw.cli.main import main\n\nmain()\n")
        (site / "borrowed.pth").write_text(f"import site; site.addsitedir({borrowed!r})\n")
        self._pip(*wheels)

    def start(self, module: str) -> subprocess.Popen[bytes]:
        """Start *module* in the background, where its output is thrown away."""
        return subprocess.Popen(
            [str(self.python), "-m", module],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            env=self._environment,
        )

    def run(self, *command: object, cwd: Path | None = None, codes: Collection[int] = (0,)) -> str:
        """Run the module that *command* begins with, and return its output.

        It must end with one of *codes*.
        """
        done = subprocess.run(
            [str(self.python), "-m", *map(str, command)],
            capture_output=True,
            text=True,
            cwd=cwd or self.home,
            env=self._environment,
            check=False,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout

    def argo_mw(self, *command: object, codes: Collection[int] = (0,)) -> str:
        """Return the output of ``argo-mw`` with *command*, which must end with one of *codes*."""
        return self.run("argo_mw_command", *command, codes=codes)

    def install(self, *folders: Path) -> None:
        """Build wheels of the distributions in *folders* and install them."""
        wheels = self.home / "wheels"
        wheels.mkdir(exist_ok=True)
        built = build(wheels, folders)
        self._pip(*built)

    def _pip(self, *wheels: Path) -> None:
        options = ("-q", "--no-deps", "--no-index", "--force-reinstall")
        self.run("pip", "--python", self.python, "install", *options, *wheels)


def build(folder: Path, projects: Iterable[Path]) -> list[Path]:
    """Return the wheels of *projects*, built into *folder*."""
    before = set(folder.glob("*.whl"))
    command = [sys.executable, "-c", BUILD, str(folder), *map(str, projects)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(set(folder.glob("*.whl")) - before)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Wheels of argo-mw and every plugin of the repository."""
    projects = [ROOT, *sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))]
    return build(tmp_path_factory.mktemp("wheels"), projects)


@pytest.fixture(scope="session")
def open_workshop(
    tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]
) -> Callable[[], Workshop]:
    return lambda: Workshop(tmp_path_factory.mktemp("workshop"), wheels)
