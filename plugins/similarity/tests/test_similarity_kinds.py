"""Kinds of pairs that one small word, an ending or a capital keeps apart, made from many words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

import pytest

from argo_mw_similarity.comparison.policy import Judgement

Judged = Callable[[str, str], Judgement]
Pairs = Iterator[tuple[str, str]]


def _each(words: str) -> list[str]:
    return words.split()


def _links() -> Pairs:
    for noun in _each("exposure loan offer letter debt reply threat payment duty notice refund"):
        yield f"Explain the {noun} to the bank.", f"Explain the {noun} of the bank."
        yield f"What is the {noun} to clients?", f"Describe the {noun} of clients."
    for noun in _each("attack tax lien impact review restriction fee"):
        yield f"How large is the {noun} on the fund?", f"How large is the {noun} of the fund?"


def _branches() -> Pairs:
    for a, b in pairwise(_each("sell hold hedge retry abort deploy close scale alert")):
        yield f"If it falls, {a}, otherwise {b}.", f"If it falls, {b}, otherwise {a}."
        yield (f"{a.title()} if the price rises, {b} otherwise.",
               f"{b.title()} if the price rises, {a} otherwise.")  # fmt: skip


def _lists() -> Pairs:
    for a, b in combinations(_each("AAPL MSFT NVDA JPM"), 2):
        yield f"Rank {a}, XOM and {b} in this order.", f"Rank {b}, XOM and {a} in this order."
    for a, b in pairwise(_each("price volume date open close symbol size")):
        yield f"Print the columns {a}, {b}.", f"Print the columns {b}, {a}."


def _ratios() -> Pairs:
    for a, b in combinations(_each("one two three four ten"), 2):
        yield f"Explain a {a} for {b} split.", f"Explain a {b} for {a} split."
        yield f"What are odds of {a} to {b}?", f"What are odds of {b} to {a}?"


def _plurals() -> Pairs:
    for one in _each("future security interest earning good arm work holding effect premise"):
        many = f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"
        yield f"Explain the {one} of the bank.", f"Explain the {many} of the bank."


def _roots() -> Pairs:
    for one, other in (
        ("issuer", "issue"), ("contractor", "contract"), ("trader", "trade"), ("auditor", "audit"),
        ("manager", "management"), ("supplier", "supply"), ("creditor", "credit"),
        ("consumer", "consumption"), ("investor", "investment"),
    ):  # fmt: skip
        yield f"Explain the {one}'s liability.", f"Explain the {other}'s liability."
    for one, other in (
        ("deductible", "deducted"), ("taxable", "taxed"), ("callable", "called"),
        ("transferable", "transferred"), ("refundable", "refunded"),
    ):  # fmt: skip
        yield f"Explain {one} costs in the plan.", f"Explain {other} costs in the plan."


def _initials() -> Pairs:
    for letters, spelt in (
        ("PM", "prime minister"), ("PM", "portfolio manager"), ("MS", "market share"),
        ("PR", "pull request"), ("MM", "market maker"), ("TP", "take profit"),
        ("IM", "initial margin"), ("DR", "disaster recovery"),
    ):  # fmt: skip
        yield f"What does the {letters} do here?", f"What does the {spelt} do here?"


def _capitals() -> Pairs:
    for name in _each("Amazon Target Shell Gap Block Oracle Swift Compass"):
        yield f"Explain the growth of {name}.", f"Explain the growth of a {name.lower()}."
        yield f"How big is {name}?", f"How big is the {name}?"
    for ticker in _each("SPY KEY COST CAR SNOW COIN"):
        yield f"What is the risk of {ticker}?", f"What is the risk of a {ticker.lower()}?"
        yield f"What is the risk of {ticker}?", f"What is the risk of {ticker.lower()}?"
    for name in _each("Go Snap Progressive Elastic"):
        yield f"Summarize the outlook for {name}.", f"Summarize the outlook for {name.lower()}."
    yield "Explain Meta's business model.", "Explain a meta business model."


def _weights() -> Pairs:
    for n in (5, 20, 100, 1000):
        yield f"How much is £{n} in kilograms?", f"How much is {n} pounds in kilograms?"
        yield f"What does £{n} weigh?", f"What do {n} pounds weigh?"


def _not_all() -> Pairs:
    for noun, verb in (("traders", "lose"), ("funds", "fail"), ("tests", "pass")):
        yield f"Do not all {noun} {verb}?", f"Do all {noun} not {verb}?"
        yield f"Explain why not all {noun} {verb}.", f"Explain why all {noun} do not {verb}."


def _stranded() -> Pairs:
    for verb in _each("sell pay trade buy ask"):
        for preposition in _each("for with"):
            yield f"What does the fund {verb}?", f"What does the fund {verb} {preposition}?"


def _recipients() -> Pairs:
    for gives, given in (("sends", "sent"), ("lends", "lent"), ("sells", "sold")):
        for x, y in pairwise(_each("server client fund bank broker trader")):
            yield (f"The {x} {gives} data to the {y} over a secure link.",
                   f"Over a safe link, data is {given} by the {y} to the {x}.")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "veto"),
    [
        (_stranded, "roles"),
        (_recipients, "roles"),
        (_links, "roles"),
        (_branches, "order"),
        (_lists, "order"),
        (_ratios, "numbers"),
        (_plurals, "roles"),
        (_roots, "remainder"),
        (_initials, "names"),
        (_capitals, "names"),
        (_weights, "numbers"),
        (_not_all, "negation"),
    ],
)
def test_no_pair_of_the_kind_is_served(
    judged: Judged, kind: Callable[[], Pairs], veto: str
) -> None:
    vetoed = 0
    for a, b in kind():
        judgement = judged(a, b)
        assert not judgement.serve, f"{a} | {b}"
        vetoed += veto in judgement.names
    assert vetoed


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("The server sends data to the client.", "Data is sent to the client by the server."),
        ("Explain the price of the bond.", "Explain the bond's price."),
        ("Explain the exposure to the fund.", "Please explain exposure to the fund."),
        ("If it falls, sell, otherwise hold.", "Please, if it falls, sell, otherwise hold."),
        ("What are the risks of AAPL and MSFT?", "What are the risks of MSFT and AAPL?"),
        ("Rank AAPL and XOM in this order.", "Please rank AAPL and XOM in this order."),
        ("Explain a two for one split.", "Explain a 2 for 1 split."),
        ("Explain the role of the bond in trade.", "Explain the role of bonds in trade."),
        ("What are the earnings of Apple?", "What are Apple's earnings?"),
        ("How do I calculate the return?", "How do I do the calculation of the return?"),
        ("What is the EPS of Apple?", "What are the earnings per share of Apple?"),
        ("What is the price of Bitcoin?", "What is the price of bitcoin?"),
        ("Explain the price of Gold.", "Explain the price of gold."),
        ("What is a Put option?", "What is a put option?"),
        ("What is Implied Volatility?", "What is implied volatility?"),
        ("What is the price of Target?", "WHAT IS THE PRICE OF TARGET?"),
        ("How did the Fed react to inflation?", "How did Fed react to inflation?"),
        ("How much is £100 in euros?", "How much is 100 pounds in euros?"),
        ("Why do not all traders lose?", "Why don't all traders lose?"),
    ],
)
def test_a_rewording_without_such_a_contrast_is_still_served(
    judged: Judged, a: str, b: str
) -> None:
    assert judged(a, b) == Judgement(True, 0.96)
