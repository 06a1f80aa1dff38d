from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from argo_mw.plugin import hookimpl
from argo_mw_persist.tables import Table
from argo_mw_persist.testing import SAMPLES, Postgres, postgres


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Applications of these tests keep their state apart from the user's."""
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


class Sampler:
    """A plugin that declares a table, and keeps the database that it is given."""

    database = None

    @hookimpl(optionalhook=True)
    def register_tables(self):
        return [declaration(SAMPLES)]

    @hookimpl(optionalhook=True)
    def database_opened(self, database) -> None:
        self.database = database


def declaration(table: Table, **changes: object) -> dict[str, object]:
    """Return what a plugin would answer to declare *table*."""
    return {
        "name": table.name,
        "columns": table.columns,
        "migrations": table.migrations,
        "tag_columns": table.tag_columns,
        "tags": table.tags,
        **changes,
    }


@pytest.fixture
def sampler() -> Sampler:
    return Sampler()
