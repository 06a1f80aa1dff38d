"""``python -m tests.bench NAME``: run one bench, or all of them, and print its figures as JSON.

A bench is a module of this package with ``run(args)``, a coroutine that gives its figures, and
``add_arguments(parser)``. The last line that is printed is one JSON object: the figures of one
bench, or of ``all`` the whole report. Above it stands which bars are met; with ``--check`` the exit
code says whether all are that hold on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from tests.bench._bars import Verdict, declared, verdicts
from tests.bench._machine import machine, now, versions

ALL = "all"
ORDER = (
    *("pipeline", "sandbox", "persist", "cache", "outage", "half_stores", "coalesce"),
    *("race", "adaptive_ttl", "llm", "similarity", "rollout", "miss", "dashboard"),
    *("gateway", "fleet", "instructions"),
)
DATA = {"adaptive_ttl": "prices", "similarity": "prompts"}
"""The benches that need data of the user's own, and the folder of ``--data`` that holds it."""


def names() -> list[str]:
    """The benches there are."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(m.name for m in found if not m.name.startswith("_") and not m.ispkg)


def load(name: str) -> ModuleType:
    """The bench called *name*."""
    if name not in names():
        sys.exit(f"there is no bench {name!r}; there are {', '.join([ALL, *names()])}")
    return importlib.import_module(f"tests.bench.{name}")


def run_one(name: str, words: Sequence[str]) -> int:
    """Run the bench *name* here, with the arguments *words*; the exit code."""
    bench = load(name)
    parser = _parser(name, bench.__doc__)
    bench.add_arguments(parser)
    args = parser.parse_args(words)
    figures = asyncio.run(bench.run(args))
    judged = _judge({name: figures})
    if args.json is not None:
        _write(args.json, {"bench": name, **_report(judged), "figures": figures})
    print(json.dumps(figures))
    return _exit_code(args.check, judged)


def run_all(words: Sequence[str]) -> int:
    """Run every bench in order, each in a process of its own; the exit code."""
    parser = _parser(ALL, "Every bench in order.")
    parser.add_argument(
        "--data", type=Path, help=f"folder with {' and '.join(DATA.values())}; see docs of benches"
    )
    parser.add_argument("--only", nargs="+", choices=ORDER, default=ORDER, metavar="NAME")
    args = parser.parse_args(words)
    found: dict[str, Mapping[str, object]] = {}
    left_out: dict[str, str] = {}
    for name in args.only:
        if name in DATA and args.data is None:
            left_out[name] = "it needs --data"
            continue
        print(f"-- {name}", flush=True)
        data = ["--data", str(args.data / DATA[name])] if name in DATA else []
        figures = _apart(name, data)
        if figures is None:
            left_out[name] = "it failed; what it said is above"
        else:
            found[name] = figures
    judged = _judge(found)
    report = {**_report(judged), "benches": found, "left_out": left_out}
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    if args.json is not None:
        _write(args.json, report)
    print(json.dumps(report))
    failed = any("failed" in why for why in left_out.values())
    return 1 if failed else _exit_code(args.check, judged)


def _parser(name: str, about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"tests.bench {name}", description=about)
    parser.add_argument("--json", type=Path, help="also write a report to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    return parser


def _apart(name: str, words: Sequence[str]) -> Mapping[str, object] | None:
    """The figures of bench *name* from a process of its own, or ``None`` when it fails."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        command = [sys.executable, "-m", "tests.bench", name, "--json", str(report), *words]
        if subprocess.run(command, check=False).returncode:
            return None
        figures: Mapping[str, object] = json.loads(report.read_text("utf-8"))["figures"]
        return figures


def _judge(found: Mapping[str, Mapping[str, object]]) -> list[Verdict]:
    """Which bars are met, told in lines and returned."""
    bars = declared()
    judged = [one for name, figures in found.items() for one in verdicts(bars, name, figures)]
    for verdict in judged:
        print(verdict.line())
    return judged


def _report(judged: Sequence[Verdict]) -> dict[str, object]:
    return {
        "date": now(),
        "machine": machine(),
        "versions": versions(),
        "bars": [verdict.plain() for verdict in judged],
    }


def _write(path: Path, report: Mapping[str, object]) -> None:
    path.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def _exit_code(check: bool, judged: Sequence[Verdict]) -> int:
    return int(check and any(verdict.fails for verdict in judged))


def main() -> None:
    """Run what was asked for."""
    name = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    words = sys.argv[2:]
    sys.exit(run_all(words) if name == ALL else run_one(name, words))


if __name__ == "__main__":
    main()
