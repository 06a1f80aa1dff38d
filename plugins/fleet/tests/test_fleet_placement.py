"""Subjects have their workers, in all processes, and few of them move."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw_fleet.placement import capacity, place

NAMES = st.lists(st.text(max_size=6), min_size=1, max_size=60, unique=True).map(tuple)
WORKERS = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=8, unique=True).map(tuple)


def symbols(count: int) -> tuple[str, ...]:
    return tuple(f"S{number}" for number in range(count))


def workers(count: int) -> tuple[str, ...]:
    return tuple(f"worker-{number}" for number in range(count))


def whose(placed) -> dict[str, str]:
    return {subject: worker for worker, subjects in placed.items() for subject in subjects}


@settings(max_examples=60, deadline=None)
@given(NAMES, WORKERS, st.randoms(use_true_random=False))
def test_every_subject_has_one_worker_whatever_the_order(subjects, names, chance) -> None:
    placed = place(subjects, names)
    assert sorted(subjects) == sorted(s for share in placed.values() for s in share)
    assert max(map(len, placed.values())) <= capacity(len(subjects), len(names))
    shuffled, others = list(subjects), list(names)
    chance.shuffle(shuffled)
    chance.shuffle(others)
    assert whose(placed) == whose(place(tuple(shuffled), tuple(others)))


def test_a_share_keeps_the_order_of_its_subjects() -> None:
    asked = tuple(random.Random(1).sample(symbols(200), 200))
    for share in place(asked, workers(3)).values():
        assert sorted(share, key=asked.index) == list(share)


@pytest.mark.parametrize("count", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("size", [2, 4, 7, 16])
def test_no_worker_has_more_than_a_tenth_above_its_share(count: int, size: int) -> None:
    sizes = [len(share) for share in place(symbols(count), workers(size)).values()]
    assert max(sizes) <= max(1.1 * count / size, -(-count // size))


@pytest.mark.parametrize("size", [4, 9])
def test_one_that_comes_takes_its_share_and_hardly_anything_moves_between_the_others(size) -> None:
    before = whose(place(symbols(2000), workers(size)))
    after = whose(place(symbols(2000), workers(size + 1)))
    moved = {s for s in before if before[s] != after[s]}
    taken = {s for s in moved if after[s] == f"worker-{size}"}
    assert 0.8 <= len(taken) / (2000 / (size + 1)) <= 1.1
    assert len(moved - taken) <= 0.02 * 2000


@pytest.mark.parametrize("size", [4, 9])
def test_of_one_that_goes_only_its_share_moves(size: int) -> None:
    before = whose(place(symbols(2000), workers(size)))
    after = whose(place(symbols(2000), workers(size)[1:]))
    moved = {s for s in before if before[s] != after[s]}
    others = {s for s in moved if before[s] != "worker-0"}
    assert len(others) <= 0.02 * 2000


def test_places_are_the_same_in_every_process() -> None:
    """They may change with a version only: a fleet of two versions would keep everything twice."""
    placed = place(("AAPL", "BRK.B", "MSFT", "NVDA", "RHM.DE", "TSLA"), ("east", "north", "west"))
    expected = {
        "east": ("NVDA", "TSLA"),
        "north": ("AAPL", "BRK.B"),
        "west": ("MSFT", "RHM.DE"),
    }
    assert expected == placed
