"""``argo-mw similarity`` on the command line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from argo_mw import Argo, Cost, Outcome
from argo_mw.app.application import engine_of
from argo_mw.cli.main import cli
from argo_mw.plugin import Call, Upstream, hookimpl, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_similarity import SimilarityPlugin

from .test_similarity_layer import Same


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


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ("What is the latest price?", "What is the price?", "moment: the answer to A"),
        ("What is the price?", "What is the price of today?", "moment: the answer to B"),
        ("What is a put?", "What is a put? " * 60, "length: B is longer than 768 characters"),
        ("What is a put? " * 60, "What is a put?", "length: A is longer than 768 characters"),
    ],
    ids=["moment of A", "moment of B", "length of B", "length of A"],
)
def test_try_goes_by_all_that_the_layer_goes_by(config: Path, a: str, b: str, reason: str) -> None:
    printed = json.loads(_run(config, "try", a, b, "--json").stdout)
    assert (False, "ask the model", None) == (
        printed["serve"],
        printed["verdict"],
        printed["score"],
    )
    assert printed["reasons"][0].startswith(reason)
    served = asyncio.run(_layer_serves(a, b))
    assert not served


def test_try_serves_the_same_text_however_long_it_is(config: Path) -> None:
    text = "What is a put? " * 60
    assert "verdict  serve" in _run(config, "try", text, text).stdout


async def _layer_serves(a: str, b: str) -> bool:
    model = Scripted("model", {"ask"}, "answer", retries=0)
    plugins = {
        "similarity": SimilarityPlugin,
        "asked": FakePlugin(operations=[_ask], upstreams=[model]),
    }
    own = {"argo": {"shared": "memory://"}, "plugins": {"similarity": {"embedder": "none"}}}
    async with Argo.open(own, plugins=plugins, installed=False) as argo:
        await argo.call("ask", prompt=a)
        return "similarity" in (await argo.outcome("ask", prompt=b)).via


def test_stats_say_that_nothing_was_checked(config: Path) -> None:
    result = _run(config, "stats")
    assert result.exit_code == 0, result.output
    assert "served   0" in result.stdout
    assert "missed   0: like no known prompt" in result.stdout
    assert "nothing was checked" in result.stdout


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
    both = _run(config, "audit", "--wrong", hit["id"], "--right", hit["id"])
    assert (2, True) == (both.exit_code, "as wrong and as right" in both.output)
    mistyped = _run(config, "audit", "--wrong", hit["id"], "--right", "77")
    assert (1, True) == (mistyped.exit_code, "no hit '77'" in mistyped.output)
    forgotten = _run(config, "audit", "--wrong", hit["id"])
    assert forgotten.exit_code == 0, forgotten.output
    stats = json.loads(_run(config, "stats", "--json").stdout)
    assert {"the same text": 1} == stats["served"]
    assert (1, 1) == (stats["checked"][""]["wrong"], stats["checked"]["the same text"]["checked"])
    assert json.loads(_run(config, "audit", "--json").stdout) == []
    assert not asyncio.run(ask("What is a put?"))
    assert [asyncio.run(ask("What is a put?")) for _ in range(2)] == [True, True]
    one, other = (hit["id"] for hit in json.loads(_run(config, "audit", "--json").stdout))
    reviewed = _run(config, "audit", "--right", one, "--wrong", other)
    assert ("forgotten" in reviewed.output, "right:" in reviewed.output) == (True, True)
    assert json.loads(_run(config, "audit", "--json").stdout) == []


@operation(name="ask", kind="llm")
def _ask(prompt: str) -> object:
    """Ask a language model."""


# With a judge, at whose command nothing but a fake is asked


class Far(Same):
    """An embedder to which no text is like another."""

    name = "far"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors that are at right angles."""
        return np.eye(len(texts), 4, dtype=np.float32)


class Judged:
    """The plugin of a test: an embedder to which all is the same, and a judge that says yes."""

    @hookimpl
    def register_upstreams(self) -> list[Upstream]:
        return [Scripted("judge", {"same_question"}, {"same": True}).upstream]

    @hookimpl(optionalhook=True)
    def similarity_embedders(self) -> dict[str, object]:
        return {"same": Same(), "far": Far()}


A, B = "How do I price a bond?", "How do I price a callable bond?"


@pytest.fixture
def judged(config: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the policy ``judged``, and a judge."""
    text = '[plugins.similarity]\nembedder = "same"\npolicy = "judged"\n'
    config.write_text(text, "utf-8")

    def open_with_judge(settings: object, **_: object) -> Argo:
        plugins = {"similarity": SimilarityPlugin, "judged": Judged()}
        return Argo.open(settings, plugins=plugins, installed=False)  # type: ignore[arg-type]

    monkeypatch.setattr("argo_mw.Argo", open_with_judge)
    return config


def test_try_says_when_the_judge_would_be_asked_and_asks_it_on_demand(judged: Path) -> None:
    trial = json.loads(_run(judged, "try", A, B, "--json").stdout)
    assert ("ask the judge", "", True) == (trial["verdict"], trial["judge"], trial["undecided"])
    asked = _run(judged, "try", A, B, "--ask").stdout
    assert "doubt    remainder" in asked
    assert "judge    the same" in asked
    assert "verdict  serve" in asked


def test_try_says_that_a_verified_answer_has_to_prove_itself(judged: Path) -> None:
    for b in (B, "How do I price bonds?"):
        printed = json.loads(_run(judged, "try", A, b, "--policy", "verified", "--json").stdout)
        assert "serve, once such prompts have been served right" == printed["verdict"]


def test_try_never_asks_the_judge_about_a_hard_veto(judged: Path) -> None:
    result = _run(judged, "try", "Should I buy gold?", "Should I sell gold?", "--ask").stdout
    assert "veto     directions" in result
    assert "\njudge " not in result


def test_try_shows_the_vetoes_of_prompts_that_score_too_low(judged: Path) -> None:
    judged.write_text(judged.read_text("utf-8").replace('"same"', '"far"'), "utf-8")
    result = _run(judged, "try", "Should I buy gold?", "Should I sell gold?").stdout
    assert "score: below" in result
    assert "veto     directions" in result


def test_a_wrong_verdict_of_the_judge_is_unlearnt_and_its_answer_kept(judged: Path) -> None:
    async def asked() -> list[bool]:
        clock = FakeClock(wall=time.time())  # the commands go by the machine's

        def dear(call: Call) -> Outcome:
            clock.stall(2.0)
            return Outcome("answer", cost=Cost(usd=0.01, requests=1.0))

        model = Scripted("model", {"ask"}, dear, retries=0)
        own = {
            "argo": {"shared": "sqlite"},
            "plugins": {"similarity": {"embedder": "same", "policy": "judged"}},
        }
        plugins = {
            "similarity": SimilarityPlugin,
            "judged": Judged(),
            "asked": FakePlugin(operations=[_ask], upstreams=[model]),
        }
        argo = Argo.open(own, plugins=plugins, installed=False, clock=clock)
        async with argo:
            served = ["similarity" in (await argo.outcome("ask", prompt=p)).via for p in (A, B)]
            while "argo-mw:similarity-audit" in engine_of(argo).tasks.names:
                await asyncio.sleep(0)
        return served

    assert [False, True] == asyncio.run(asked())
    (hit,) = json.loads(_run(judged, "audit", "--json").stdout)
    assert "the judge says the same" == hit["why"]
    assert "unlearned" in _run(judged, "audit", "--wrong", hit["id"]).output
    assert [True, False] == asyncio.run(asked())
    stats = _run(judged, "stats").stdout
    assert "judge    1 asked: 1 yes, 0 no; USD 0.0000" in stats
    assert "100.00%" in stats
