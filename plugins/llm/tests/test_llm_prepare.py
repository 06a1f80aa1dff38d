"""Prompt preparation keeps every meaning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_llm.costs.prices import load_prices
from argo_mw_llm.providers.prepare import collapse, prepare
from argo_mw_llm.providers.request import ModelRequest

UNTOUCHED = [
    "def f(x):\n    return  x\n\n\n\nprint(f(1))",
    "for  item  in  items:\n\tprint(item)",
    "x  =  1",
    "key:\n  nested:   value\n  text: |\n    one\n\n\n\n    two",
    "- one\n\n\n\n- two   three",
    "AAPL   BUY   12\nMSFT   SELL  7",
    "Name    Action\nApple   Buy\nOther   Sell",
    "| a |   b |\n|---|-----|\n| 1 |   2 |",
    "```\nplain    words\n```",
    'He said "wait   for it" twice.',
    "He said 'wait   for it' twice.",
    "See <pre>a   b</pre> there.",
    "One line  \nnext line after a hard break.",
    "Title\n=====\n\n\n\nText.",
    "a\n\n\n    indented   code\n",
    "SELECT  *  FROM  t;",
    "1. first   point\n2. second",
]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_code_tables_yaml_and_quotations_are_left_as_they_are(text: str) -> None:
    assert text == collapse(text)


def test_repeated_spaces_and_blank_lines_of_prose_go() -> None:
    text = "The market  fell   sharply.\n\n\n\nWhat should we   do now?"
    assert "The market fell sharply.\n\nWhat should we do now?" == collapse(text)


@given(st.text())
def test_preparing_twice_changes_nothing_more(text: str) -> None:
    assert collapse(collapse(text)) == collapse(text)


@given(st.text(alphabet=st.sampled_from("ab .,\n\t:|`\"'-=#0{}<>")))
def test_nothing_but_spaces_and_line_ends_is_ever_removed(text: str) -> None:
    assert "".join(text.split()) == "".join(collapse(text).split())
    assert text.split() == collapse(text).split()


@given(st.text(), st.sampled_from(["```\n{}\n```", "    {}", '"{}"', "key:\n  - {}", "| {} |"]))
def test_preformatted_text_survives_to_the_byte(text: str, form: str) -> None:
    whole = form.format(text)
    assert whole == collapse(whole)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_means_the_same_afterwards(value: object) -> None:
    assert value == json.loads(collapse(json.dumps(value, indent=2)))


def _ask(**changes: object) -> ModelRequest:
    told: dict[str, object] = {
        "model": "claude-sonnet-5",
        "messages": ({"role": "user", "content": "Word  word."},),
        **changes,
    }
    return ModelRequest(**told)  # type: ignore[arg-type]


def test_each_step_can_be_switched_off_and_says_what_it_saved() -> None:
    prices = load_prices()
    text = "Please  think   about   this   market   for   us  now. " * 50
    long = _ask(messages=({"role": "user", "content": text + "Why?"},))
    prepared, steps = prepare(long, ("whitespace",), prices, caches=True)
    assert ["whitespace"] == [step.name for step in steps]
    assert steps[0].saved > 0
    assert "  " not in str(prepared.messages[0]["content"])
    same, none = prepare(long, (), prices, caches=True)
    assert (long.messages, ()) == (same.messages, none)


def test_the_answers_of_the_model_are_never_changed() -> None:
    said = {"role": "assistant", "content": "I  said  so."}
    prepared, _ = prepare(_ask(messages=(said,)), ("whitespace",), load_prices(), caches=True)
    assert said == prepared.messages[0]


@pytest.mark.parametrize(
    ("rough", "model", "prompt_cache_ttl"),
    [
        (1_024, "claude-sonnet-5", "5m"),
        (1_023, "claude-sonnet-5", ""),
        (600, "claude-opus-5", "5m"),
        (100_000, "claude-unknown", ""),
    ],
)
def test_provider_caching_is_asked_for_above_the_models_minimum(
    rough: int, model: str, prompt_cache_ttl: str
) -> None:
    ask = _ask(rough=rough, model=model, prompt_cache_ttl="5m")
    prepared, _ = prepare(ask, ("prompt_cache",), load_prices(), caches=True)
    assert prompt_cache_ttl == prepared.prompt_cache_ttl


def test_provider_caching_is_only_requested_where_the_caller_gives_a_ttl() -> None:
    prepared, steps = prepare(_ask(rough=9_999), ("prompt_cache",), load_prices(), caches=True)
    assert ("", ()) == (prepared.prompt_cache_ttl, steps)
