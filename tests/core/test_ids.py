"""Time-ordered identifiers."""

from __future__ import annotations

import os
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.plugin import AnsweredCall, TimeOrderedIds


@given(st.lists(st.floats(min_value=0, max_value=2**47 / 1000), max_size=50))
def test_identifiers_grow_whatever_the_clock_does(times):
    moments = iter(times)
    make = TimeOrderedIds(lambda: next(moments))
    made = [make() for _ in times]
    assert sorted(set(made)) == made
    assert all(uuid.UUID(bytes=one).version == 7 for one in made)
    assert all(uuid.UUID(bytes=one).variant == uuid.RFC_4122 for one in made)


def test_an_identifier_holds_the_time_of_its_making_and_reads_back():
    one = TimeOrderedIds(lambda: 1_750_000_000.123)()
    assert 1_750_000_000_123 == int.from_bytes(one[:6], "big")
    assert one == TimeOrderedIds.parse(TimeOrderedIds.text(one))


def test_a_forked_child_does_not_go_on_where_its_parent_does():
    make = TimeOrderedIds(lambda: 1.0)
    make()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, make())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 16) != make()
    os.close(reading)
    os.close(writing)


def test_the_border_is_between_before_and_after():
    later = TimeOrderedIds(lambda: 5.0)
    assert TimeOrderedIds(lambda: 4.999)() < TimeOrderedIds.first_at(5.0) < later()
    assert bytes(16) == TimeOrderedIds.first_at(-1.0)


def test_what_is_derived_from_the_same_has_one_identifier_wherever_it_is_made():
    def answered(**changes: object) -> AnsweredCall:
        given = {"value": 1, "as_of": 2.0, "time": 3.0, "identity": "a", **changes}
        return AnsweredCall(subject="", parameters={}, owner="", upstream=None, **given)

    one = answered().row_id("x")
    assert one == answered(value=2, time=4.0).row_id("x")
    different = [answered(identity="b").row_id("x"), answered().row_id("y"), answered().row_id()]
    assert 4 == len({one, *different})
    assert (8, uuid.RFC_4122) == (uuid.UUID(bytes=one).version, uuid.UUID(bytes=one).variant)
    assert TimeOrderedIds.is_derived(one)
    assert TimeOrderedIds.first_at(2.0) < one < TimeOrderedIds.first_at(2.001)
    assert one < answered(as_of=2.5).row_id("x")


def test_what_is_not_computed_has_an_identifier_of_its_own_each_time():
    answered = AnsweredCall(1, "", {}, "", None, 2.0, 3.0)
    assert answered.row_id() != answered.row_id()
    assert not TimeOrderedIds.is_derived(answered.row_id())


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 1e12])
def test_moments_that_no_identifier_holds_are_those_at_its_ends(seconds: float):
    answered = AnsweredCall(1, "", {}, "", None, seconds, 0.0, identity="a")
    assert answered.row_id() == answered.row_id()
    assert 16 == len(answered.row_id())
