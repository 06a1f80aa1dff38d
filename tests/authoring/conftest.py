"""A clean directory outside the repository, with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest


class Workshop:
    """A clean directory with an environment, in which plugins can be installed.

    The environment borrows what the tests run with, so that nothing is downloaded.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._environment = environment | {"ARGO_MW_STATE_DIR": str(home / "state")}
        venv.create(home / "env", with_pip=False)
        self.python = home / "env" / "bin" / "python"
        site = next((home / "env" / "lib").glob("python*/site-packages"))
        borrowed = sysconfig.get_path("purelib")
        (home / "argo_mw_command.py").write_text("from argo_mw.cli.main import main\n\nmain()\n")
        (site / "borrowed.pth").write_text(f"import site; site.addsitedir({borrowed!r})\n")

    def run(self, *command: object, cwd: Path | None = None) -> str:
        """What *command* prints; it must end well."""
        done = subprocess.run(
            [str(self.python), "-m", *map(str, command)],
            capture_output=True,
            text=True,
            cwd=cwd or self.home,
            env=self._environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def argo_mw(self, *command: object) -> str:
        """What ``argo-mw`` prints."""
        return self.run("argo_mw_command", *command)

    def install(self, *folders: Path) -> None:
        """Install the distributions in *folders*."""
        self.run("pip", "install", "-q", "--no-deps", "--no-build-isolation", *folders)


@pytest.fixture(scope="session")
def open_workshop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Workshop]:
    return lambda: Workshop(tmp_path_factory.mktemp("workshop"))
