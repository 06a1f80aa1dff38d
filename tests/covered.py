"""Say how much of each distribution the measured suites have run, and whether that is enough.

``python tests/covered.py`` reads what ``make coverage`` has recorded.
"""

from __future__ import annotations

import io
import sys
import tomllib
from pathlib import Path

import coverage
import coverage.exceptions

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Print a line for each distribution; 1 if one of them is below its gate."""
    gates = tomllib.loads((ROOT / "tests" / "covered.toml").read_text("utf-8"))["gates"]
    recorded = coverage.Coverage(config_file=ROOT / "pyproject.toml")
    recorded.load()
    too_low = 0
    for package, gate in gates.items():
        place = package if package == "argo_mw" else f"plugins/{package.removeprefix('argo_mw_')}"
        try:
            share = recorded.report(include=[str(ROOT / place / "*")], file=io.StringIO())
        except coverage.exceptions.NoDataError:
            share = 0.0
        enough = share >= gate
        too_low += not enough
        print(f"{package:24} {share:6.2f} %{'' if enough else f', less than {gate} %'}", flush=True)
    return int(too_low > 0)


if __name__ == "__main__":
    sys.exit(main())
