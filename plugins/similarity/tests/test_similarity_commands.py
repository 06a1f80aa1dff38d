"""``argo-mw similarity`` on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argo_mw import Argo
from argo_mw.app.application import engine_of
from argo_mw.cli.main import cli
from argo_mw.plugin import operation
from argo_mw.testing import FakePlugin, Scripted
from argo_mw_similarity import SimilarityPlugin


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
    printed = json.loads(result.stdout)
    assert printed["serve"] is False
    assert any("directions" in reason for reason in printed["reasons"])


def test_try_prints_a_verdict_for_people(config: Path) -> None:
    result = _run(config, "try", "What is a put?", "What is a put?")
    assert result.exit_code == 0, result.output
    assert "verdict  serve" in result.stdout


def test_audit_lists_nothing_where_nothing_was_served(config: Path) -> None:
    result = _run(config, "audit", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == []


def test_an_unknown_hit_is_an_error_that_names_the_remedy(config: Path) -> None:
    result = _run(config, "audit", "--wrong", "77")
    assert result.exit_code == 1
    assert "argo-mw similarity audit" in result.output


def test_a_wrong_answer_is_forgotten_in_every_instance(config: Path, tmp_path: Path) -> None:
    async def ask(prompt: str) -> bool:
        model = Scripted("model", {"ask"}, "answer", retries=0)
        plugins = {
            "similarity": SimilarityPlugin,
            "asked": FakePlugin(operations=[_ask], upstreams=[model]),
        }
        own = {"argo": {"shared": "sqlite"}, "plugins": {"similarity": {"embedder": "none"}}}
        async with Argo.open(own, plugins=plugins, installed=False) as argo:
            outcome = await argo.outcome("ask", prompt=prompt)
            while "argo-mw:similarity-audit" in engine_of(argo).tasks.names:
                await asyncio.sleep(0)
            return "similarity" in outcome.via

    assert [asyncio.run(ask("What is a put?")) for _ in range(2)] == [False, True]
    (hit,) = json.loads(_run(config, "audit", "--json").stdout)
    assert (hit["asked"], hit["served"]) == ("What is a put?", "What is a put?")
    forgotten = _run(config, "audit", "--wrong", hit["id"])
    assert forgotten.exit_code == 0, forgotten.output
    assert json.loads(_run(config, "audit", "--json").stdout) == []
    assert not asyncio.run(ask("What is a put?"))


@operation(name="ask", kind="llm")
def _ask(prompt: str) -> object:
    """Ask a language model."""
