"""``python -m tests.bench NAME``: run one bench, or all of them, and print its figures as JSON.

A bench is a module of this package with ``run(args)``, a coroutine that gives its figures, and
``add_arguments(parser)``. The last line that is printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import importlib
import json
import pkgutil
import platform
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType


def names() -> list[str]:
    """The benches there are."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(m.name for m in found if not m.name.startswith("_") and not m.ispkg)


def machine() -> dict[str, str]:
    """Where and when the figures were measured."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "argo-mw": metadata.version("argo-mw"),
    }


def load(name: str) -> ModuleType:
    """The bench called *name*."""
    if name not in names():
        sys.exit(f"there is no bench {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"tests.bench.{name}")


def main() -> None:
    """Run the bench that was asked for."""
    name = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    bench = load(name)
    parser = argparse.ArgumentParser(prog=f"tests.bench {name}", description=bench.__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    bench.add_arguments(parser)
    args = parser.parse_args(sys.argv[2:])
    figures = asyncio.run(bench.run(args))
    if args.json is not None:
        report = {"bench": name, **machine(), "figures": figures}
        args.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
