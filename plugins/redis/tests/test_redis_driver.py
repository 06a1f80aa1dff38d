"""The driver keeps the contract of Shared, on a real server."""

from __future__ import annotations

import contextlib

import pytest

from argo_mw.store import Ability
from argo_mw.testing.shared import SharedConformance, StoreUnderTest
from argo_mw_redis import open_redis

# The clock of a server cannot be moved, but the expiry times of its keys can.
EARLIER = """
for _, key in ipairs(redis.call('KEYS', '*')) do
    local ends = redis.call('PEXPIRETIME', key)
    if ends > 0 then redis.call('PEXPIREAT', key, ends - ARGV[1]) end
end
return 'done'
"""


REFUSED = {
    Ability.READ: "-mget -scan",
    Ability.WRITE: "-@write",
    Ability.HEAR: "-subscribe",
    Ability.ANNOUNCE: "-publish",
    Ability.LEASE: "-@scripting",
    Ability.COUNT: "-@scripting",
}


class TestRedis(SharedConformance):
    @pytest.fixture
    def store(self, server):
        async def advance(seconds):
            milliseconds = str(round(seconds * 1000))
            assert b"$4\r\ndone\r\n" == server.command("EVAL", EARLIER, "0", milliseconds)

        async def interrupt():
            server.command("CLIENT", "KILL", "SKIPME", "yes")

        @contextlib.asynccontextmanager
        async def block():
            server.freeze()
            try:
                yield
            finally:
                server.thaw()

        async def refuse(abilities):
            rules = " ".join(REFUSED[ability] for ability in abilities)
            channels = "resetchannels" if Ability.HEAR in abilities else "&*"
            server.allow("app", f"~* +@all {channels} {rules}")

        server.allow("app", "~* &* +@all")
        url = server.url_of("app")
        return StoreUnderTest(
            lambda: open_redis(url), advance, interrupt=interrupt, block=block, refuse=refuse
        )
