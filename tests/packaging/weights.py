"""What it weighs: ``python tests/packaging/weights.py`` writes the tables of docs/reference/weight.md.

A plugin's weight is what importing it adds to the core: modules, CPU and memory at rest. An extra's
weight is what is installed for it, by the metadata of the environment in which this runs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from attrs import frozen
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "weight.md"
PLUGINS = sorted(file.parent.name for file in ROOT.glob("plugins/*/pyproject.toml"))
EXTRAS = (
    *("layers", "market", "signals", "llm", "http", "gateway", "dashboard", "metrics", "rollout"),
    *("fleet", "redis", "postgres", "demo", "all"),
)
OURS: dict[str, dict[str, Any]] = {
    project["name"]: project
    for file in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml"))
    for project in [tomllib.loads(file.read_text("utf-8"))["project"]]
}

_IMPORT = """
import json, mmap, sys, time
import argo_mw.plugin
def seen():
    # Not the peak, which a process inherits from the one that starts it.
    with open("/proc/self/statm") as file:
        rest = int(file.read().split()[1]) * mmap.PAGESIZE / 2**20
    return len(sys.modules), 1000 * time.process_time(), rest
before = seen()
__import__(sys.argv[1])
after = seen()
print(json.dumps([before, [b - a for a, b in zip(before, after)]]))
"""


@frozen
class Weight:
    """What importing something takes.

    Attributes:
        modules: Modules that are imported.
        cpu_ms: Milliseconds of CPU.
        mebibytes: Memory at rest.
    """

    modules: int
    cpu_ms: float
    mebibytes: float


def of_plugin(name: str) -> tuple[Weight, Weight]:
    """Return the weight of the core, and what the plugin *name* adds."""
    command = [sys.executable, "-c", _IMPORT, f"argo_mw_{name}.plugin"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    core, added = json.loads(done.stdout)
    return Weight(*core), Weight(*added)


def of_extra(extra: str) -> tuple[int, float]:
    """Return how many distributions ``argo-mw[extra]`` is, and their size in MB, installed."""
    found: set[str] = set()
    _need("argo-mw", {extra}, found, set())
    return len(found), sum(map(_size, found)) / 1e6


def _need(name: str, extras: set[str], found: set[str], seen: set[tuple[str, str]]) -> None:
    """Add to *found* the distribution *name*, with *extras*, and everything that it needs."""
    new = {one for one in (extras or {""}) if (name, one) not in seen}
    if not new:
        return
    seen.update((name, one) for one in new)
    found.add(name)
    for line in _requirements(name, new):
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in new):
            _need(re.sub("[-_.]+", "-", one.name).lower(), one.extras, found, seen)


def _requirements(name: str, extras: set[str]) -> list[str]:
    """Return what *name* needs: of ours by the project, whatever is installed of it."""
    project = OURS.get(name)
    if project is None:
        try:
            return distribution(name).requires or []
        except PackageNotFoundError:
            return []
    optional = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(one for extra in extras for one in optional.get(extra, ()))]


def _size(name: str) -> int:
    if name in OURS:
        files = (ROOT if name == "argo-mw" else ROOT / "plugins" / _folder(name)).glob(
            f"{name.replace('-', '_')}/**/*"
        )
        return sum(one.stat().st_size for one in files if "__pycache__" not in one.parts)
    try:
        return sum(file.size or 0 for file in distribution(name).files or ())
    except PackageNotFoundError:
        return 0


def _folder(name: str) -> str:
    return name.removeprefix("argo-mw-").replace("-", "_")


def tables() -> dict[str, str]:
    """Return the tables of the page, by name."""
    core, _ = of_plugin(PLUGINS[0])
    rows = [("`argo_mw.plugin`", core)]
    rows += [(f"`{name}`", of_plugin(name)[1]) for name in PLUGINS]
    plugins = "| | modules | CPU, ms | memory, MiB |\n|---|---|---|---|\n" + "".join(
        f"| {name} | {one.modules} | {one.cpu_ms:.0f} | {one.mebibytes:.0f} |\n"
        for name, one in rows
    )
    extras = "| | distributions | MB |\n|---|---|---|\n"
    for extra in EXTRAS:
        number, megabytes = of_extra(extra)
        extras += f"| `argo-mw[{extra}]` | {number} | {megabytes:.0f} |\n"
    return {"plugins": plugins, "extras": extras}


def main() -> None:
    """Measure, and write the page."""
    text = PAGE.read_text("utf-8")
    for name, table in tables().items():
        block = re.compile(rf"(<!-- measured: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        text = block.sub(lambda m, table=table: f"{m[1]}\n{table}{m[2]}", text)
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
