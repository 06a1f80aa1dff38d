"""Operations bind parameters; calls carry them."""

from __future__ import annotations

import pytest

from argo_mw import BadParameter, ConfigError
from argo_mw.model.call import make_call
from argo_mw.plugin import Operation, operation


@operation(subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars of one symbol.

    More about them.
    """


@operation(kind="llm")
def complete(prompt: str) -> str:
    """A model's answer."""


def upper(parameters: dict[str, object]) -> dict[str, object]:
    return {**parameters, "symbol": str(parameters["symbol"]).upper()}


def test_a_default_that_is_spelt_out_is_the_same_question() -> None:
    one = make_call(bars, {"symbol": "AAPL"}, tenant="a")
    other = make_call(bars, {"days": 90, "symbol": "AAPL"}, tenant="a")
    assert one.key == other.key


def test_public_answers_are_shared_between_tenants_and_others_are_not() -> None:
    public = [make_call(bars, {"symbol": "AAPL"}, tenant=t).key for t in ("a", "b")]
    private = [make_call(complete, {"prompt": "hi"}, tenant=t).key for t in ("a", "b")]
    assert public[0] == public[1]
    assert private[0] != private[1]


def test_a_language_model_operation_cannot_be_public() -> None:
    with pytest.raises(ValueError, match="scope must be 'tenant'"):
        operation(kind="llm", scope="public")(lambda prompt: None)


def test_a_version_changes_the_key() -> None:
    other = operation(name="bars", version=2)(lambda symbol, days=90: None)
    one = make_call(bars, {"symbol": "A"}, tenant="")
    assert one.key != make_call(other, {"symbol": "A"}, tenant="").key


def test_one_text_is_not_taken_for_a_list_of_tags() -> None:
    """Its letters would be tags, and nothing would be invalidated by it."""
    declared = operation(tags=lambda given: f"portfolio:{given['name']}")(lambda name: None)
    with pytest.raises(ConfigError, match=r"tags= of an operation returns is the text 'portfolio"):
        make_call(declared, {"name": "a"}, tenant="")


def test_normalisation_comes_before_the_key() -> None:
    declared = operation(subject="symbol", normalize=upper)(lambda symbol: None)
    assert isinstance(declared, Operation)
    one, other = (make_call(declared, {"symbol": s}, tenant="") for s in ("aapl", "AAPL"))
    assert (one.key, one.subject) == (other.key, "AAPL")


def test_parameters_that_cannot_be_read_are_bad_ones() -> None:
    declared = operation(name="sum", normalize=upper)(lambda symbol: None)
    with pytest.raises(BadParameter, match="sum cannot read its parameters: ValueError"):
        make_call(declared, {"symbol": 10**5000}, tenant="")
    with pytest.raises(BadParameter, match="the subject of bars has no text: ValueError"):
        make_call(bars, {"symbol": 10**5000}, tenant="")


def test_a_label_has_the_beginning_of_a_long_subject() -> None:
    call = make_call(bars, {"symbol": "A" * 10_000}, tenant="")
    assert len(call.label) < 120
    assert len(repr(call)) < 300
    assert "A" * 10_000 == call.subject


def test_an_operation_names_what_its_answers_depend_on_beside_their_subject() -> None:
    declare = operation(
        name="latest",
        subject="symbol",
        normalize=upper,
        tags=lambda parameters: [f"signals:{parameters['symbol']}"],
    )
    call = make_call(declare(lambda symbol: None), {"symbol": "aapl"}, tenant="")
    assert {"op:latest", "subject:AAPL", "signals:AAPL"} == call.tags


def test_the_key_begins_with_the_operation_and_holds_no_upstream() -> None:
    call = make_call(bars, {"symbol": "AAPL"}, tenant="")
    assert call.key.startswith("bars:")
    assert call.bind("alpaca").key == call.key
    assert call.bind("alpaca").branch_key == f"{call.key}@alpaca"
    assert call.branch_key == call.key


def test_siblings_differ_in_their_subject_only() -> None:
    one = make_call(bars, {"symbol": "AAPL"}, tenant="")
    other = make_call(bars, {"symbol": "MSFT"}, tenant="")
    cousin = make_call(bars, {"symbol": "AAPL", "days": 5}, tenant="")
    assert one.batch_key == other.batch_key
    assert one.batch_key != cousin.batch_key


def test_calls_may_share_a_request_without_a_subject() -> None:
    @operation(gathers="text")
    def embed(text: str, *, model: str = "") -> object:
        """A text as a vector."""

    one, other, cousin = (
        make_call(embed, asked, tenant="")
        for asked in ({"text": "oil"}, {"text": "gas"}, {"text": "oil", "model": "large"})
    )
    assert one.batch_key == other.batch_key
    assert one.batch_key != cousin.batch_key
    assert "" == one.subject
    with pytest.raises(ConfigError, match="what it gathers"):
        operation(gathers="words")(lambda text: None)


def test_extensions_are_no_part_of_what_is_asked() -> None:
    call = make_call(bars, {"symbol": "AAPL"}, tenant="")
    told = call.extended({"race.only": "alpaca"}, deadline=3.0)
    assert (told.extensions, told.deadline) == ({"race.only": "alpaca"}, 3.0)
    assert (told.key, call.extensions) == (call.key, {})
    with pytest.raises(TypeError):
        told.extensions["x"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, r"bars needs symbol: call it as bars\(symbol: "),
        ({"symbl": "A"}, "no parameter 'symbl': did you mean 'symbol'"),
        ({"symbol": "A", "zzz": 1}, "no parameter 'zzz': known are days, symbol"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        make_call(bars, parameters, tenant="")


def test_a_signature_may_take_anything() -> None:
    declared = operation(name="any", subject="")(lambda **kwargs: None)
    call = make_call(declared, {"whatever": 1}, tenant="")
    assert call.parameters == {"whatever": 1}
    assert call.subject == ""


def test_the_first_line_of_the_docstring_describes_the_operation() -> None:
    assert bars.doc == "Price bars of one symbol."
