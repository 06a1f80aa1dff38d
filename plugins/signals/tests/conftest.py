from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from argo_mw_persist.testing import Postgres, postgres


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Applications of these tests keep their state apart from the user's."""
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running
