"""Time-ordered identifiers."""

from __future__ import annotations

import os
import uuid

from hypothesis import given
from hypothesis import strategies as st

from argo_mw.plugin import TimeOrderedIds


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
