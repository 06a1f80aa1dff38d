"""Isolating tests from the state and the flags of the user who runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from argo_mw.config.state_dir import STATE_DIR


class IsolatedTests:
    """A suite whose applications keep their state in a new directory for each test."""

    @pytest.fixture(autouse=True)
    def _isolated_state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(STATE_DIR, str(tmp_path / "state"))
