"""Every layer has its place."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw import ConfigError, Outcome
from argo_mw.chain.order import order
from argo_mw.plugin import SLOTS, Call, Layer, Next


async def nothing(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)


def layer(name: str, **place: object) -> Layer:
    return Layer(name, nothing, **place)


def slotted(*names: str) -> list[Layer]:
    return [layer(name, slot=name) for name in names]


def names(*layers: Layer) -> list[str]:
    ordered = order(layers)
    return [one.name for one in (*ordered.outer, "|", *ordered.inner) if one != "|"]


def test_named_slots_keep_the_chain_s_order() -> None:
    assert names(*slotted(*reversed(SLOTS))) == list(SLOTS)


def test_the_fan_out_point_parts_outer_from_inner_even_without_race() -> None:
    ordered = order(slotted("persist", "cache", "similarity"))
    assert [one.name for one in ordered.outer] == ["cache"]
    assert [one.name for one in ordered.inner] == ["similarity", "persist"]


def test_before_and_after_place_a_layer_among_slots_and_layers() -> None:
    placed = names(
        *slotted("coalesce", "cache"),
        layer("audit", after=("cache",), before=("race",)),
        layer("trace", after=("audit",), before=("adaptive_ttl",)),
    )
    assert placed == ["coalesce", "cache", "audit", "trace"]


def test_a_layer_without_wishes_stands_outermost() -> None:
    assert names(*slotted("coalesce"), layer("zebra"), layer("ant")) == ["ant", "zebra", "coalesce"]


def test_another_distribution_may_take_a_slot() -> None:
    assert names(layer("turbo_cache", slot="cache"), *slotted("race")) == ["turbo_cache", "race"]


@given(st.permutations(range(6)))
def test_the_order_does_not_depend_on_the_order_of_registration(shuffle: list[int]) -> None:
    layers = [
        *slotted("cache", "race", "persist"),
        layer("a", after=("race",)),
        layer("b", before=("cache",)),
        layer("c", after=("cache",), before=("a",)),
    ]
    assert names(*[layers[i] for i in shuffle]) == names(*layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [layer("a", slot="cach")],
            "asks for slot 'cach', which does not exist: did you mean 'cache'",
        ),
        ([layer("a", before=("coalesc",))], "did you mean 'coalesce'"),
        ([layer("a", before=("qqq",))], "known are "),
        ([layer("a", slot="cache"), layer("b", slot="cache")], "both ask for slot 'cache'"),
        ([layer("a"), layer("a")], "two layers are called 'a'"),
        ([layer("a", requires=("cache",))], "'a' requires 'cache', which is not in the chain"),
        (
            [layer("a", before=("b",)), layer("b", before=("a",))],
            "form a cycle: .* drop one of their before/after",
        ),
        ([layer("a", slot="cache", before=("coalesce",))], "form a cycle"),
        (
            [layer("a", slot="cache", before=("coalesce",))],
            r"asks to stand before 'coalesce'; the slots have .* \(coalesce stands outside of cache\)",
        ),
        (
            [layer("a", after=("race",), before=("cache",))],
            "layer 'a' asks to stand (before 'cache'|after 'race'); .*'a' asks to stand",
        ),
        ([layer("a", before=("a",))], "cycle: a → a: layer 'a' asks to stand before 'a'; drop"),
        (
            [
                layer("a", before=("b",)),
                layer("b", before=("c",)),
                layer("c", after=("z",)),
                layer("z", after=("c",)),
                layer("y", before=("z",)),
            ],
            "layer '[cz]' asks to stand after '[cz]'; layer '[cz]' asks to stand after '[cz]'; drop",
        ),
    ],
)
def test_what_cannot_be_placed_is_explained(layers: list[Layer], message: str) -> None:
    random.shuffle(layers)
    with pytest.raises(ConfigError, match=message):
        order(layers)
