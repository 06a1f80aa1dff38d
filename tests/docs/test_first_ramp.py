"""The tutorial of a first ramp, from an empty directory to the rollback, with wheels alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.authoring.conftest import Workshop, open_workshop, wheels
from tests.docs.test_docs import _BLOCK

__all__ = ["open_workshop", "wheels"]  # fixtures

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorial/first-ramp.md"
PATIENCE = 120.0


def written(language: str) -> list[str]:
    """Return the blocks of the page in *language*, which it says to put into files or to run."""
    found = _BLOCK.finditer(PAGE.read_text("utf-8"))
    return [one["code"] for one in found if one["language"] == language]


@pytest.fixture
def workshop(open_workshop: Callable[[], Workshop]) -> Workshop:
    """A directory with the plugin of the tutorial, made, edited and installed."""
    workshop = open_workshop()
    plugin, program = written("python")
    (config,) = written("toml")
    workshop.argo_mw("new-plugin", "bold")
    package = workshop.home / "argo-mw-bold/argo_mw_bold"
    (package / "plugin.py").write_text(plugin)
    (package / "__init__.py").write_text("")
    workshop.install(workshop.home / "argo-mw-bold")
    (workshop.home / "program.py").write_text(program)
    (workshop.home / "argo.toml").write_text(config)
    return workshop


@pytest.mark.heavy
def test_the_layer_of_the_tutorial_is_ramped_seen_and_rolled_back(workshop: Workshop) -> None:
    program = workshop.start("program")
    try:
        wait_for("the program", lambda: "quote" in workshop.argo_mw("counters", "--json"))
        workshop.argo_mw("rollout", "start", "bold")
        steps = set()

        def rolled_back() -> bool:
            (ramp,) = json.loads(status(workshop, "--json", codes=(0, 1)))
            steps.add(ramp["step"])
            return ramp["status"] == "rolled back"

        wait_for("the rollback", rolled_back)
        assert "25%" in steps
        assert "50%" not in steps
        assert "rolled back" in status(workshop, codes=(1,))
        told = " ".join(workshop.argo_mw("rollout", "report", "bold").split())
        assert "wrong answers are certainly worse" in told
        assert "rolled back" in workshop.argo_mw("flags", "list")
        assert program.poll() is None
    finally:
        program.kill()
        program.communicate()


def status(workshop: Workshop, *options: str, codes: tuple[int, ...]) -> str:
    """Return what ``argo-mw rollout status`` prints; it must end with one of *codes*."""
    return workshop.argo_mw("rollout", "status", "bold", *options, codes=codes)


def wait_for(what: str, seen: Callable[[], bool]) -> None:
    """Look until *what* is *seen*."""
    until = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < until, f"{what} is not seen"
        time.sleep(0.5)
