"""``argo-mw similarity`` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argo_mw.cli.main import cli


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "argo.toml"
    path.write_text('[plugins.similarity]\nembedder = "none"\n', "utf-8")
    return path


def _run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--config", str(config), "similarity", *words])


def test_try_names_the_veto(config: Path) -> None:
    result = _run(config, "try", "Should I buy gold?", "Should I sell gold?", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["serve"] is False
    assert any("directions" in reason for reason in told["reasons"])


def test_try_prints_a_verdict_for_people(config: Path) -> None:
    result = _run(config, "try", "What is a put?", "What is a put?")
    assert result.exit_code == 0, result.output
    assert "verdict  serve" in result.stdout


def test_audit_lists_nothing_where_nothing_was_served(config: Path) -> None:
    result = _run(config, "audit", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == []


def test_a_verdict_on_an_unknown_hit_says_what_to_do(config: Path) -> None:
    result = _run(config, "audit", "--wrong", "77")
    assert result.exit_code == 1
    assert "argo-mw similarity audit" in result.output
