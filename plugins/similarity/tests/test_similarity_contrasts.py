"""Contrasts of an ending, a capital or a place, and rewordings that are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from argo_mw_similarity.comparison.policy import Judgement

Judged = Callable[[str, str], Judgement]


@pytest.mark.parametrize(
    ("a", "b", "veto"),
    [
        ("What does the acquired company owe?", "What does the acquiring company owe?", "roles"),
        ("List risks of developed markets.", "List risks of developing markets.", "roles"),
        ("Explain the duties of the insured party.", "Explain the duties of the insuring party.",
         "roles"),
        ("Fix the called function.", "Fix the calling function.", "roles"),
        ("What does the sold unit cost?", "What does the selling unit cost?", "roles"),
        ("What is the dividend policy of Shell?", "What is the dividend policy of a shell?",
         "names"),
        ("Is Target a good investment?", "Is the target a good investment?", "names"),
        ("Summarize the outlook for Carnival.", "Summarize the outlook for the carnival.", "names"),
        ("Back up the disk, then wipe it.", "Wipe the disk, then back it up.", "order"),
        ("Run the migration, then deploy the service.",
         "Deploy the service, then run the migration.", "order"),
        ("Sort the rows by price, then by date.", "Sort the rows by date, then by price.", "order"),
        ("Call transfer(source, target) twice.", "Call transfer(target, source) twice.", "order"),
        ("Explain a swap where I pay fixed and receive floating.",
         "Explain a swap where I receive fixed and pay floating.", "order"),
        ("Retry if it fails and log.", "Log if it fails and retry.", "order"),
        ("Only alert the desk if gold falls.", "Alert the desk only if gold falls.", "quantities"),
        ("Only review the tests.", "Review only the tests.", "quantities"),
        ("What are at the money calls?", "What are in the money calls?", "remainder"),
        ("What are out of the money puts?", "What are in the money puts?", "remainder"),
    ],
)  # fmt: skip
def test_a_contrast_of_an_ending_a_capital_or_a_place_is_a_veto(
    judged: Judged, a: str, b: str, veto: str
) -> None:
    judgement = judged(a, b)
    assert not judgement.serve
    assert veto in judgement.names


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("¿Qué es la bolsa?", "¿Qué es la balsa?"),
        ("Explica la media", "Explica la medida"),
    ],
)
def test_a_word_of_another_language_is_not_taken_for_a_misspelt_one(
    judged: Judged, a: str, b: str
) -> None:
    assert not judged(a, b).serve


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What does the acquiring company pay?", "What does an acquiring company pay?"),
        ("Explain the risks of developing markets.", "Explain the risk of developing markets."),
        ("How do I use Pandas?", "How do I use pandas?"),
        ("What is the price of Gold?", "What is the price of gold?"),
        ("Run the migration, then deploy the service.",
         "Please run the migration, and then deploy the service."),
        ("Call transfer(source, target) twice.", "Please call transfer(source, target) twice."),
        ("Only review the tests.", "Please only review the tests."),
        ("What are at the money calls?", "What are ATM calls?"),
        ("How do I invest in the money market?", "How do I invest in money markets?"),
        ("What is the valuu of the bond?", "What is the value of the bond?"),
    ],
)  # fmt: skip
def test_a_rewording_without_such_a_contrast_is_served(judged: Judged, a: str, b: str) -> None:
    assert judged(a, b) == Judgement(True, 0.96)
