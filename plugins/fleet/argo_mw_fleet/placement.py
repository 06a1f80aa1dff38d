"""Which worker answers which subject: rendezvous hashing, with a bound to each worker's load.

Each worker has a score for each subject, and a subject prefers the worker with the highest: one
that comes takes from each of the others its share, and one that goes leaves its own to all of them
(Thaler and Ravishankar, 1998). By chance alone one of four workers would get 1.07 times its share
of a thousand subjects as a rule, of a hundred 1.2 times; and a round lasts as long as its busiest
worker. So no worker takes more than 1.1 times its share (Mirrokni, Thorup and Zadimoghaddam, 2018):
the subjects that it has the lowest scores for go to the worker that they prefer next.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from heapq import heappush, heappushpop
from typing import Final

SLACK: Final = 0.1
"""How far above its share a worker's load may be, as a part of that share."""

_BYTES: Final = 8


@lru_cache(maxsize=4)
def place(subjects: tuple[str, ...], workers: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return the subjects of each worker, in the order in which they are given.

    The same subjects and workers, in whatever order, give the same places in every process.

    Args:
        subjects: What is asked about, each once.
        workers: The names of at least one worker, each once.
    """
    most = capacity(len(subjects), len(workers))
    seeds = {worker: blake2b(worker.encode(), digest_size=_BYTES) for worker in workers}
    kept: dict[str, list[tuple[bytes, str]]] = {worker: [] for worker in workers}
    preferences = {}
    for subject in subjects:
        scores = {worker: _score(seed, subject) for worker, seed in seeds.items()}
        ranked = sorted(workers, key=lambda worker: (scores[worker], worker))
        preferences[subject] = scores, ranked
        looking = subject
        # Each worker keeps those with its highest scores: who comes first does not matter.
        while True:
            scores, ranked = preferences[looking]
            worker = ranked.pop()
            if len(kept[worker]) < most:
                heappush(kept[worker], (scores[worker], looking))
                break
            _, looking = heappushpop(kept[worker], (scores[worker], looking))
    order = {subject: place for place, subject in enumerate(subjects)}
    return {
        worker: tuple(sorted((subject for _, subject in found), key=order.__getitem__))
        for worker, found in kept.items()
    }


def capacity(subjects: int, workers: int) -> int:
    """Return how many of *subjects* each of *workers* takes at most."""
    return max(-(-subjects // workers), int(subjects / workers * (1.0 + SLACK)))


def _score(seed: blake2b, subject: str) -> bytes:
    score = seed.copy()
    score.update(b"\0" + subject.encode("utf-8", "surrogatepass"))
    return score.digest()
