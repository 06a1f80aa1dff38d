"""Names on a cluster: what changes in one step has one slot, whatever its key is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from argo_mw.store import epoch_key
from argo_mw_redis.keys import ClusterKeys, slot_of

KEYS = ClusterKeys("argo:")
# Keys of braces and little else, to meet every way in which they can lie.
ANY_KEY = st.text("{}ab:€\0", min_size=1, max_size=12)


@given(ANY_KEY)
def test_slots_are_those_that_redis_computes(key):
    assert key_slot(key.encode()) == slot_of(key)


@given(ANY_KEY)
def test_a_value_has_the_slot_of_its_fence_and_its_epoch(key):
    value = slot_of(KEYS.value(key))
    assert value == slot_of(KEYS.fence(key))
    assert value == slot_of(KEYS.epoch(key))
    assert value == slot_of(KEYS.value(f"witness:{{{KEYS.part_of(key)}}}"))


@given(ANY_KEY)
def test_a_lease_has_the_slot_of_its_newest_fence(key):
    assert slot_of(KEYS.lease(key)) == slot_of(KEYS.newest_fence(key))
    assert slot_of(KEYS.lease(key)) == slot_of(KEYS.wish(key))


@given(ANY_KEY)
def test_the_epoch_of_a_part_is_in_that_part(key):
    part = KEYS.part_of(key)
    assert part == KEYS.part_of(epoch_key(part))
    assert KEYS.epoch(key) == KEYS.value(epoch_key(part))


@given(ANY_KEY, ANY_KEY)
def test_names_of_two_keys_differ_and_lead_back_to_them(key, other):
    for name in (KEYS.value, KEYS.lease, KEYS.fence, KEYS.wish):
        assert (name(key) == name(other)) == (key == other)
    assert key == KEYS.key_of(KEYS.value(key))


@given(st.text("ab:€", min_size=1), st.text("{}ab"), st.text("{}ab"))
def test_keys_with_the_same_text_in_braces_are_in_one_place(tag, before, after):
    first, second = f"lease:{{{tag}}}", f"result:{{{tag}}}{after}"
    assert slot_of(KEYS.lease(first)) == slot_of(KEYS.value(second))
    assert KEYS.part_of(first) == KEYS.part_of(second)
