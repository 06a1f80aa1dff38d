"""What may share an answer and what may not, by reading alone.

``probes.csv`` was written for this plugin: pairs of many kinds, questions and statements, money
and otherwise. Nothing in it was taken from the sets that the bench reads.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw_similarity import Guarded, Threshold, read
from argo_mw_similarity.language import lexicon
from argo_mw_similarity.language.lexicon import Lexicon

PROBES = list(
    csv.DictReader(Path(__file__).with_name("probes.csv").read_text("utf-8").splitlines())
)
CERTAIN = 0.89
"""A score at which the score itself refuses nothing but reworded prompts with a remainder."""


def _served(words: Lexicon, a: str, b: str, score: float) -> bool:
    return Guarded(words).judge(read(a, words), read(b, words), score).serve


@pytest.mark.parametrize("same", ["0"])
@pytest.mark.parametrize("score", [CERTAIN, 0.96])
def test_prompts_that_differ_never_share_an_answer(words: Lexicon, same: str, score: float) -> None:
    """Whatever they score, but for prompts worded differently throughout."""
    served = [
        (p["a"], p["b"])
        for p in PROBES
        if p["same"] == same and (p["capability"] != "reworded" or score == CERTAIN)
        if _served(words, p["a"], p["b"], score) or _served(words, p["b"], p["a"], score)
    ]
    assert served == []


def test_most_prompts_that_are_the_same_share_an_answer(words: Lexicon) -> None:
    pairs = [p for p in PROBES if p["same"] == "1"]
    hits = sum(_served(words, p["a"], p["b"], 0.96) for p in pairs)
    assert hits >= 0.8 * len(pairs)


@pytest.mark.parametrize(
    ("a", "b", "veto"),
    [
        ("Summarize Q3 2024.", "Summarize Q3 2023.", "numbers"),
        ("Is 3 + 4 even?", "Is 3 * 4 even?", "symbols"),
        ("Who runs Intel?", "Who runs Nvidia?", "names"),
        ("Is it safe to sell?", "Is it safe not to sell?", "negation"),
        ("Did gold rise?", "Did gold fall?", "directions"),
        ("Do all funds lose?", "Do funds lose?", "quantities"),
        ("Is Anna a banker?", "Was Anna a banker?", "times"),
        ("Should I sell bonds?", "Must I sell bonds?", "modality"),
        ("Which bond is more risky?", "Which bond is less risky?", "comparison"),
        ("When do banks fail?", "Why do banks fail?", "question"),
        ("Did Disney buy Fox?", "Was Disney bought by Fox?", "roles"),
        ("Is Japan bigger than Chile?", "Is Chile bigger than Japan?", "order"),
        ("Sell if rates rise.", "Sell unless rates rise.", "logic"),
        ("Would he lend her money?", "Would she lend him money?", "persons"),
        ("Fix:\n```\na\n```", "Fix:\n```\nb\n```", "code"),
        ("What is a bond?", "Что такое облигация?", "script"),
        ("What is the stop at 11am?", "What is the stop at 11pm?", "dates"),
    ],
)
def test_a_refusal_is_named(words: Lexicon, a: str, b: str, veto: str) -> None:
    verdict = Guarded(words).judge(read(a, words), read(b, words), 0.99)
    assert veto in {reason.partition(":")[0] for reason in verdict.reasons}


def test_threshold_serves_by_score_alone(words: Lexicon) -> None:
    a, b = read("Buy gold?", words), read("Sell gold?", words)
    assert Threshold(0.95).judge(a, b, 0.95).serve
    assert not Threshold(0.95).judge(a, b, 0.94).serve


def test_a_users_data_files_are_added_to_the_shipped_ones(tmp_path: Path, words: Lexicon) -> None:
    pair = "What is the alpha tranche worth?", "What is the beta tranche worth?"
    (tmp_path / "synonyms.txt").write_text("alpha beta  # ours\n", "utf-8")
    (tmp_path / "opposites.txt").write_text("movie | film\n", "utf-8")
    own = lexicon.load(tmp_path)
    assert not _served(words, *pair, 0.96)
    assert _served(words, "Is the movie good?", "Is the film good?", 0.96)
    assert not _served(own, "Is the movie good?", "Is the film good?", 0.96)


def test_a_wrong_line_in_a_data_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "opposites.txt").write_text("# fine\nbuy sell\n", "utf-8")
    with pytest.raises(ValueError, match=r"opposites\.txt, line 2"):
        lexicon.load(tmp_path)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=200))
def test_any_text_can_be_read_and_equals_itself(text: str) -> None:
    words = lexicon.load()
    reading = read(text, words)
    assert Guarded(words).judge(reading, read(text, words), 1.0).serve


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(PROBES), st.floats(0.7, 1.0))
def test_the_verdict_does_not_depend_on_who_was_asked_first(
    probe: dict[str, str], score: float
) -> None:
    """For prompts that differ: neither order is served."""
    words = lexicon.load()
    if probe["same"] == "0" and probe["capability"] != "reworded":
        assert not _served(words, probe["a"], probe["b"], score)
        assert not _served(words, probe["b"], probe["a"], score)
