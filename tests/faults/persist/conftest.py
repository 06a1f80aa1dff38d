from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from argo_mw_persist.testing import Postgres, postgres

CHILD = Path(__file__).with_name("child.py")

Child = subprocess.Popen[str]
StartChild = Callable[..., Child]


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[StartChild]:
    """Start ``child.py MODE URL STATE COUNT``; what still runs at the end is killed."""
    with ExitStack() as stack:

        def start(mode: str, url: str, count: int = 0, *, state: str = "state") -> Child:
            child = subprocess.Popen(
                [sys.executable, str(CHILD), mode, url, str(tmp_path / state), str(count)],
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(child)
            stack.callback(child.kill)
            return child

        yield start
