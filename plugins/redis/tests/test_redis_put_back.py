"""A server that comes back from an older snapshot is noticed by what counts on it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from argo_mw import SharedUnavailable
from argo_mw.store import Epochs
from argo_mw.testing import FakeClock
from argo_mw.testing.shared import eventually
from argo_mw_redis import open_redis

DAY = 86_400.0


async def sent(epochs, wanted):
    """Return how many of the *wanted* requests a limit of 5 lets pass."""
    counts = [await epochs.add("day", began=20_000 * DAY, limit=5, ttl=DAY) for _ in range(wanted)]
    return sum(count is not None and count.added for count in counts)


async def restart(server, *shared):
    """Kill *server* and start it again; return when all have noticed."""
    server.kill()
    for one in shared:
        with suppress(SharedUnavailable):
            await one.get("key")
    server.start()
    for one in shared:
        await eventually(lambda one=one: one.unreachable is None)


@pytest.fixture
def clock():
    return FakeClock(wall=20_000 * DAY + 3_600.0)


@pytest.mark.parametrize("first", [0, 1])
async def test_a_server_that_restarts_from_a_snapshot_lets_nothing_pass(
    start_server, clock, tmp_path, first
):
    server = start_server("--dbfilename", "dump.rdb")
    shared = [await open_redis(server.url) for _ in range(2)]
    running = [Epochs(one, clock, url=server.url, state_dir=tmp_path) for one in shared]
    passed = await sent(running[1], 1)
    server.command("SAVE")
    passed += await sent(running[0], 3)
    await running[0].aclose()  # a moment later
    await restart(server, *shared)
    for epochs in (running[first], running[1 - first]):
        passed += await sent(epochs, 9)
    assert 4 == passed
    for epochs, one in zip(running, shared, strict=True):
        await epochs.aclose()
        await one.aclose()


async def test_a_server_that_restarts_from_its_log_has_lost_nothing(start_server, clock, tmp_path):
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    shared = await open_redis(server.url)
    epochs = Epochs(shared, clock, url=server.url, state_dir=tmp_path)
    passed = await sent(epochs, 3)
    await restart(server, shared)
    assert 5 == passed + await sent(epochs, 9)
    await epochs.aclose()
    await shared.aclose()
