"""Tests see neither the state nor the flags of the account that runs them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the state directory, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"
