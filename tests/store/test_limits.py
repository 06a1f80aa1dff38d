"""What no driver of a shared store accepts, to the byte."""

from __future__ import annotations

import math

import pytest

from argo_mw.base.errors import BadParameter, EpochChanged
from argo_mw.store.limits import (
    MAX_COUNT,
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    check_count,
    check_epoch,
    check_items,
    check_key,
    check_keys,
    check_ttl,
    check_value,
    check_witness,
)
from argo_mw.store.protocol import Witness

LONGEST = "k" * MAX_KEY_BYTES


def test_limits_are_what_the_pages_say() -> None:
    assert (512, 67_108_864, 9_007_199_254_740_992) == (MAX_KEY_BYTES, MAX_VALUE_BYTES, MAX_COUNT)


@pytest.mark.parametrize("key", ["k", LONGEST, "ü" * 256], ids=len)
def test_a_key_has_up_to_512_bytes(key: str) -> None:
    check_key(key)
    check_keys([key, key])
    check_items({key: b""})


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "must be text that is not empty, not ''"),
        (b"k", "must be text that is not empty"),
        (LONGEST + "k", "at most 512 bytes: use a digest of 'k{40}'"),
        ("ü" * 256 + "k", "at most 512 bytes"),
        ("\ud800", "text that UTF-8 can write"),
    ],
    ids=ascii,
)
def test_a_key_that_some_driver_cannot_keep_is_refused(key: str, said: str) -> None:
    with pytest.raises(BadParameter, match=said):
        check_key(key)
    with pytest.raises(BadParameter, match=said):
        check_keys(["k", key])
    with pytest.raises(BadParameter, match=said):
        check_items({"k": b"", key: b""})


def test_one_text_is_not_several_keys() -> None:
    with pytest.raises(BadParameter, match="not the string 'keys'"):
        check_keys("keys")


def test_a_value_is_bytes_of_up_to_64_mib() -> None:
    check_value("k", bytes(MAX_VALUE_BYTES))
    with pytest.raises(BadParameter, match="has 67108865 bytes; 67108864 are the limit"):
        check_value("k", bytes(MAX_VALUE_BYTES + 1))
    with pytest.raises(BadParameter, match="must be bytes, not bytearray"):
        check_items({"k": bytearray(1)})


@pytest.mark.parametrize("ttl", [0, -1, -0.5, math.nan])
def test_a_time_to_live_is_above_zero(ttl: float) -> None:
    for accepted in (None, 0.001, 1, math.inf):
        check_ttl(accepted)
    with pytest.raises(BadParameter, match="a positive number of seconds"):
        check_ttl(ttl)


@pytest.mark.parametrize("number", [MAX_COUNT + 1, -MAX_COUNT - 1, True, 1.0, "1"])
def test_a_count_is_an_integer_that_doubles_keep_exactly(number: int) -> None:
    for accepted in (None, 0, 1, -1, MAX_COUNT, -MAX_COUNT):
        check_count("limit", accepted)
    with pytest.raises(BadParameter, match=r"the limit of a counter .* within 2\*\*53, not"):
        check_count("limit", number)


@pytest.mark.parametrize("found", [1, 3, None])
def test_a_store_of_another_epoch_is_not_added_to(found: int | None) -> None:
    check_epoch(2, 2)
    with pytest.raises(EpochChanged, match=f"in epoch {found}, not 2"):
        check_epoch(2, found)


def test_a_store_that_knows_of_fewer_additions_is_not_added_to() -> None:
    witness = Witness("key", 2)
    check_witness(witness, 2)
    check_witness(witness, 3)
    with pytest.raises(EpochChanged, match="knows of 1 additions of 2"):
        check_witness(witness, 1)
