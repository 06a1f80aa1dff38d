"""The first hour of a user, away from the sources: ``python tests/packaging/first_hour.py``.

From wheels alone, in an environment that has nothing else: one name is installed, the README's ten
lines and the tutorial's service run, and ``mypy --strict`` finds no fault with the service.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from wheels import ROOT, build

PINNED = ROOT / "tests" / "constraints.txt"
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Run it, and say how long each step took."""
    with tempfile.TemporaryDirectory(prefix="argo-mw-first-hour-") as made:
        walk(Path(made), build(Path(made) / "dist"))


def walk(home: Path, constraints: Path) -> None:
    """Take all the steps in *home*, with the wheels that *constraints* names."""
    venv.create(home / "env", with_pip=False)
    python = home / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q")
    core = next(constraints.parent.glob("argo_mw-*.whl"))
    step(home, "install", *pip, "-c", constraints, f"{core}[signals]", "argo-mw-sandbox")
    command = home / "env" / "bin" / "argo-mw"
    assert "signals" in step(home, "argo-mw --help", command, "--help")
    assert "bars" in step(home, "argo-mw config check", command, "config", "check")
    (home / "ten_lines.py").write_text(python_of(ROOT / "README.md")[0])
    printed = step(home, "the README's ten lines", python, "ten_lines.py")
    assert "asking for AAPL" == printed.splitlines()[0]
    assert 2 == len(printed.splitlines())
    service = python_of(ROOT / "docs" / "tutorial" / "first-service.md")
    (home / "service.py").write_text("\n\n".join(service))
    assert "AAPL: " in step(home, "the tutorial's service", python, "service.py")
    step(home, "install mypy", *pip, "-c", PINNED, "mypy")
    step(home, "mypy --strict", python, "-m", "mypy", "--strict", "service.py")


def python_of(page: Path) -> list[str]:
    """Return the page's blocks of Python."""
    return _PYTHON.findall(page.read_text("utf-8"))


def step(home: Path, title: str, *command: object) -> str:
    """Run *command* in *home*; return what it prints, and end the program where it fails."""
    began = time.monotonic()
    # A state of its own: what another run has kept on this machine would be answered from.
    own = {**os.environ, "XDG_STATE_HOME": str(home / "state")}
    done = subprocess.run(
        [str(one) for one in command],
        cwd=home,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{title}: failed\n{done.stdout}{done.stderr}")
    print(f"{title}: {time.monotonic() - began:.1f} s", flush=True)
    return done.stdout


if __name__ == "__main__":
    main()
