"""The files are written where they are wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from argo_mw_metrics.monitoring.__main__ import USAGE, main
from argo_mw_metrics.monitoring.files import FOLDER


def test_the_files_are_written_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert 0 == main([str(folder)])
    (folder / "alerts.yml").write_text("changed")
    assert 0 == main([str(folder)])
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == written


@pytest.mark.parametrize("arguments", [[], ["--help"], ["one", "two"]])
def test_anything_else_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == main(arguments)
    assert USAGE in capsys.readouterr().err
