"""All scenarios, by name, and how some of them are run."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from argo_mw.plugin import ConfigError, suggest
from argo_mw_compare.run import isolated
from argo_mw_compare.scenarios.names import SCENARIOS
from argo_mw_compare.scenarios.promise import Findings
from argo_mw_compare.scenarios.scenario import Scenario, measure


def known_scenarios(names: Sequence[str]) -> Sequence[str]:
    """Return *names*, or the names of all scenarios where none or ``all`` is among them.

    Raises:
        ConfigError: There is no such scenario.
    """
    if not names or "all" in names:
        return tuple(SCENARIOS)
    for name in names:
        if name not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            hint = suggest(name, [*SCENARIOS])
            msg = f"there is no scenario {name!r}: {hint} (there are {known})"
            raise ConfigError(msg)
    return tuple(dict.fromkeys(names))


def scenario(name: str) -> Scenario[Any]:
    """Return the scenario *name*, with the parameters that the pages show."""
    made: Scenario[Any] = getattr(
        import_module(f"argo_mw_compare.scenarios.{name}"), SCENARIOS[name]
    )()
    return made


@isolated()
def run_scenarios(names: Iterable[str], *, say: Callable[[str], object]) -> Sequence[Findings]:
    """Run the scenarios *names* one after the other, each in a process of its own.

    They measure real time too, so that no two of them share the machine.
    """
    found = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as worker:
        for name in names:
            one = worker.submit(_run_one, name).result()
            say(f"scenario {name}: {one.seconds:.0f} s")
            found.append(one)
    return found


def _run_one(name: str) -> Findings:
    with tempfile.TemporaryDirectory(prefix="argo-mw-compare-") as folder:
        return measure(scenario(name), Path(folder))
