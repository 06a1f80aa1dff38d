"""Normal forms: what many people write in many ways is written in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spellchecker import SpellChecker

from argo_mw_similarity import Guarded, read
from argo_mw_similarity.language import lexicon
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.language.normal_form import normal_form


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Could you please tell me how options work?", "How options work?"),
        ("Hi there, would you mind explaining theta? Thanks!", "Explain theta."),
        ("I was wondering if rates will rise", "Rates will rise?"),
        ("Can you summarize the report for me, please?", "Summarize the report."),
        ("What is RSI, please?", "What is relative strength index?"),
        ("What is the relative strength index (RSI)?", "What is the relative strength index?"),
        ("Which ETFs hold gold?", "Which exchange-traded funds hold gold?"),
        ("What is teh market doing w/ bonds", "What is the market doing with bonds"),
        ("Rate it.\n- ATR: 3\n- Beta: 1", "Rate it. Average true range: 3, Beta: 1"),
        ("RSI = 55; beta = 1", "Relative strength index: 55, beta: 1"),
        ("Give me the price of oil.", "What is the price of oil?"),
        ("Which city is the capital of Chile?", "What is the capital of Chile?"),
    ],
)
def test_a_prompt_is_written_in_its_normal_form(
    words: Lexicon, written: str, expected: str
) -> None:
    assert normal_form(written, words) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Can you lose money with options?",
        "How do you say please in French?",
        "What does RSI stand for?",
        "Correct the spelling of recieve.",
        'Translate "could you tell me" into German.',
        "Is AMC or AMD the better stock?",
        "Why did solana fall?",
        "Fix this:\n```\nteh = db\n```",
        "Run `teh_db` and wait.",
        "See https://teh.example/db for it.",
        "Does Appel sue Nvidai?",
        "Is Max Verstappen rich?",
    ],
)
def test_what_is_meant_as_it_stands_stays(words: Lexicon, text: str) -> None:
    assert normal_form(text, words) == text


@pytest.mark.parametrize(
    ("language", "question"),
    [
        ("de", "Was kosten {} Aktien?"),
        ("es", "¿Cuánto cuesta {} onza de oro?"),
        ("fr", "Quel est le prix {} du café ?"),
        ("it", "Quanto costa {} in Italia?"),
        ("nl", "Hoeveel kosten {} aandelen?"),
        ("pt", "Quanto custa {} em Lisboa?"),
    ],
)
def test_no_common_word_of_another_language_is_taken_for_an_english_one(
    words: Lexicon, language: str, question: str
) -> None:
    """In Dutch *zeven* is seven and *neven* are nephews; both are a slip away from "even"."""
    counts = SpellChecker(language=language).word_frequency.dictionary
    common = sorted(counts, key=lambda word: -counts[word])[:2000]
    asked = [question.format(word) for word in common if word.islower()]
    assert [] == [text for text in asked if normal_form(text, words) != text]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "Hoeveel kosten zeven aandelen van Philips?",
            "Hoeveel kosten neven aandelen van Philips?",
        ),
        ("Combien coûtent huit actions ?", "Combien coûtent hait actions ?"),
        ("Onde compro ouro?", "Onze compro ouro?"),
    ],
)
def test_two_questions_in_another_language_share_no_answer(
    words: Lexicon, one: str, other: str
) -> None:
    assert not Guarded(words).judge(read(one, words), read(other, words), 1.0).serve


@settings(deadline=None, max_examples=80)
@given(st.text(max_size=120))
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    words = lexicon.load()
    once = normal_form(text, words)
    assert normal_form(once, words) == once


def test_a_user_adds_abbreviations(tmp_path: Path) -> None:
    (tmp_path / "abbreviations.txt").write_text("BBG => Bloomberg  # ours\n", "utf-8")
    own = lexicon.load(tmp_path)
    assert normal_form("What is on BBG?", own) == "What is on Bloomberg?"


def test_an_abbreviation_without_a_word_is_named(tmp_path: Path) -> None:
    (tmp_path / "abbreviations.txt").write_text("BBG\n", "utf-8")
    with pytest.raises(ValueError, match=r"abbreviations\.txt, line 1"):
        lexicon.load(tmp_path)
