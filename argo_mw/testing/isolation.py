"""Apart: tests that see neither the state nor the flags of whoever runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from argo_mw.app.opening import STATE_DIR


class IsolatedTests:
    """A suite whose applications keep their state in a directory of the test's own."""

    @pytest.fixture(autouse=True)
    def _state_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(STATE_DIR, str(tmp_path / "state"))
