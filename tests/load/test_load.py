"""200 symbols, three processes, one Redis and one PostgreSQL: nothing grows, nothing is lost."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from argo_mw_persist.testing import postgres
from argo_mw_redis.testing import servers
from tests.load.fleet import INSTANCES, SYMBOLS, Fleet, fleet

pytestmark = pytest.mark.soak
WARM = 4 * len(SYMBOLS)
"""Answers after which a process has met everything."""

MOST_FILES = 64
"""Files and sockets of one process: what its pools may hold, and some for Python itself."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Fleet]:
    with servers(tmp_path) as start, postgres() as server, fleet(tmp_path, start(), server) as made:
        yield made


async def bears(running: Fleet, *, warm_up: float, seconds: float) -> list[float]:
    """Let the fleet work, judge what it leaves behind, and say how its memory grew.

    Growth is in MiB a minute for each process, by a straight line through its sizes after *warm_up*,
    in which every symbol was asked for a few times.
    """
    await running.work(warm_up, answers=WARM)
    before = await running.at_rest()
    running.memory.clear()
    await running.work(seconds, answers=2 * WARM)
    after = await running.at_rest()
    told = await running.end()
    made = {f"{number}:{n}": 1 for number, one in enumerate(told) for n in range(int(one["made"]))}
    slopes = [round(slope, 2) for slope in growth(running)]
    figures = {
        "answered": [one["answered"] for one in told],
        "made": len(made),
        "distinct": len({name for one in told for name in one["identities"]}),
        "longest_s": [round(one["longest"], 3) for one in told],
        "fullest_queue": [one["fullest"] for one in told],
        "memory_mib": [[round(size) for size in sizes] for _, sizes in running.memory[::30]],
        "growth_mib_per_minute": slopes,
        "redis_connections": after.redis,
        "postgres_connections": after.postgres,
        "files": after.files,
    }
    print(json.dumps(figures))

    assert [[]] * INSTANCES == [one["faults"] for one in told]
    assert [one["asked"] for one in told] == [one["answered"] for one in told]
    # What several compute from the same, or one again while prices stand still, is one row.
    found = await running.marks()
    assert set() == set(found) - set(made)
    assert {1} == set(found.values())
    assert len({name for one in told for name in one["identities"]}) == len(found)
    assert [(0,)] == await running.rows("SELECT count(*) FROM dead_letters")
    assert before.tasks == after.tasks
    assert before.redis == after.redis
    assert after.postgres <= 4 * INSTANCES
    assert max(after.files) <= MOST_FILES
    assert (0, 0) == await running.connections()
    return slopes


def growth(running: Fleet) -> list[float]:
    """MiB a minute by which the memory of each process grew."""
    minutes = [at / 60 for at, _ in running.memory]
    columns = zip(*(sizes for _, sizes in running.memory), strict=True)
    return [statistics.linear_regression(minutes, column).slope for column in columns]


async def test_a_fleet_bears_half_a_minute(running: Fleet) -> None:
    """Memory is not judged: in so short a time its caches still fill and its heap still spreads."""
    await bears(running, warm_up=10.0, seconds=20.0)


async def test_a_fleet_bears_five_minutes(running: Fleet) -> None:
    assert max(await bears(running, warm_up=60.0, seconds=300.0)) <= 1.0
