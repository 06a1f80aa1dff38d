"""``python -m argo_mw_metrics.monitoring FOLDER``: writes dashboards and alert rules there."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

from argo_mw.cli import say

USAGE = "usage: python -m argo_mw_metrics.monitoring FOLDER"


def main(arguments: list[str]) -> int:
    """Copy the files that come with the package; those of the same names are replaced.

    Args:
        arguments: The folder, which is made where there is none.

    Returns:
        The exit code.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        say(USAGE)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    there = resources.files("argo_mw_metrics.monitoring").joinpath("generated")
    for file in sorted(there.iterdir(), key=lambda one: one.name):
        (folder / file.name).write_bytes(file.read_bytes())
        say(str(folder / file.name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
