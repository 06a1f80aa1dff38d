"""Build a wheel of every distribution: ``python tests/packaging/wheels.py FOLDER``.

Beside them it writes ``constraints.txt``, which says where each is, so that one name installs what
belongs together from these files, whatever an index may have under such names::

    pip install -c dist/constraints.txt "dist/argo_mw-0.1.0-py3-none-any.whl[signals]"
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hatchling.build import build_wheel

ROOT = Path(__file__).parents[2]
CONSTRAINTS = "constraints.txt"


def build(folder: Path) -> Path:
    """Build all wheels into *folder*, which is made; return the file of constraints."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    wheels = []
    for project in projects():
        # What ``python -m build --wheel --no-isolation`` asks of each, without a process for it.
        os.chdir(project)
        wheels.append(folder / build_wheel(str(folder)))
    return write_constraints(wheels)


def projects() -> list[Path]:
    """Return the folders of all distributions, the core's first."""
    return [ROOT, *sorted(one.parent for one in ROOT.glob("plugins/*/pyproject.toml"))]


def write_constraints(wheels: Sequence[Path]) -> Path:
    """Write where each of *wheels* is into a file beside them, and return it."""
    lines = [f"{one.name.partition('-')[0].replace('_', '-')} @ {one.as_uri()}\n" for one in wheels]
    constraints = wheels[0].parent / CONSTRAINTS
    constraints.write_text("".join(lines), "utf-8")
    return constraints


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
