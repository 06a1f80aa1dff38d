"""The core's tests on every Python and pluggy that it supports: ``python tests/matrix.py``.

Pythons are looked for on the path and among those of pyenv; one that is not there is said and
left out. Each gets an environment of its own, which is kept for the next time.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLUGGIES = ("1.6.0", "1.7.0")
SUITES = ("tests/core", "tests/store", "tests/store_codec", "tests/authoring")
PLUGINS = ("adaptive_ttl", "cache", "coalesce", "similarity")
"""What the tests of authoring write plugins for."""
NEEDS = (
    "editables",
    "hatchling",
    "httpx2",
    "hypothesis",
    "mypy",
    "pytest",
    "pytest-asyncio",
    "ruff",
)
_PROBE = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"


def main() -> int:
    """Run the tests; how many combinations failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / ".venv-all", help="environments")
    parser.add_argument("--only", choices=PYTHONS, help="one Python, which must then be there")
    parser.add_argument("arguments", nargs="*", help="for pytest, in place of the core's suites")
    chosen = parser.parse_args()
    results = {}
    for version in [chosen.only] if chosen.only else PYTHONS:
        found = find(version)
        if found is None:
            if chosen.only:
                parser.error(f"Python {version} is not on this machine")
            results[f"Python {version}"] = "is not on this machine"
            continue
        python = environment(found, chosen.into / version)
        for pluggy in PLUGGIES:
            install(python, f"pluggy=={pluggy}")
            results[f"Python {version}, pluggy {pluggy}"] = run(python, chosen.arguments or SUITES)
    for combination, result in results.items():
        print(f"{combination}: {result}")
    return sum("failed" in result for result in results.values())


def find(version: str) -> Path | None:
    """A Python of *version* that can make environments, or ``None``."""
    return next((path for path in candidates(version) if is_version(path, version)), None)


def candidates(version: str) -> Iterator[Path]:
    """Where a Python of *version* may be: on the path first, pyenv's newest next."""
    for directory in os.get_exec_path():
        yield Path(directory) / f"python{version}"
    pyenv = shutil.which("pyenv")
    if pyenv is not None:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True)
        homes = Path(root.stdout.strip(), "versions").glob(f"{version}.*")
        yield from (home / "bin" / "python" for home in sorted(homes, key=numbers, reverse=True))


def numbers(home: Path) -> list[int]:
    """The numbers of a version, to sort by."""
    return [int(number) for number in re.findall(r"\d+", home.name)]


def is_version(path: Path, version: str) -> bool:
    """Whether there is a Python of *version* at *path* that works: a shim may lead nowhere."""
    if not path.exists():
        return False
    done = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


def environment(found: Path, home: Path) -> Path:
    """The Python of an environment with the core and what its tests need; made when missing."""
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([found, "-m", "venv", home], check=True)
    plugins = [word for name in PLUGINS for word in ("-e", str(ROOT / "plugins" / name))]
    install(python, *NEEDS)
    install(python, "--no-build-isolation", "-e", f"{ROOT}[frames,encryption]", *plugins)
    return python


def install(python: Path, *what: str) -> None:
    """Install *what* in the environment of *python*, within the constraints of the tests."""
    constraints = str(ROOT / "tests" / "constraints.txt")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", constraints]
    subprocess.run([*pip, *what], check=True)


def run(python: Path, arguments: list[str] | tuple[str, ...]) -> str:
    """How pytest with *arguments* ended."""
    print(f"-- {python.parents[1].name}", flush=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    return "passed" if code == 0 else f"failed (pytest ended with {code})"


if __name__ == "__main__":
    sys.exit(main())
