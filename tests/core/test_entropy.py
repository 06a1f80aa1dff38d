"""Random bytes that are drawn by the page."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from argo_mw.base.entropy import random_bytes


def test_no_two_pieces_are_equal_whichever_thread_asks():
    def some(_: int) -> list[bytes]:
        return [random_bytes(16) for _ in range(2000)]

    with ThreadPoolExecutor(8) as threads:
        drawn = [one for several in threads.map(some, range(8)) for one in several]
    assert 16_000 == len(set(drawn))


def test_pieces_have_the_length_that_was_asked_for():
    assert [0, 7, 8, 16] == [len(random_bytes(count)) for count in (0, 7, 8, 16)]


def test_a_forked_child_is_given_nothing_that_its_parent_is_given():
    random_bytes(1)  # A page is at hand, of which the child has a copy.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"".join(random_bytes(16) for _ in range(20)))
        os._exit(0)
    os.waitpid(child, 0)
    of_child = os.read(reading, 320)
    ours = {random_bytes(16) for _ in range(300)}
    assert ours.isdisjoint(of_child[start : start + 16] for start in range(0, 320, 16))
    os.close(reading)
    os.close(writing)
