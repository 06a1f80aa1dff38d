"""The driver keeps the contract of Shared on a real cluster: three masters, three replicas."""

from __future__ import annotations

import contextlib

import pytest

from argo_mw.store import Ability
from argo_mw.testing.shared import SharedConformance, StoreUnderTest
from argo_mw_redis import open_cluster

# The clock of a server cannot be moved, but the expiry times of its keys can.
EARLIER = """
for _, key in ipairs(redis.call('KEYS', '*')) do
    local ends = redis.call('PEXPIRETIME', key)
    if ends > 0 then redis.call('PEXPIREAT', key, ends - ARGV[1]) end
end
return 'done'
"""

REFUSED = {
    Ability.READ: "-get -scan",
    Ability.WRITE: "-@write",
    Ability.HEAR: "-ssubscribe",
    Ability.ANNOUNCE: "-spublish",
    Ability.LEASE: "-@scripting",
    Ability.COUNT: "-@scripting",
}


class TestRedisCluster(SharedConformance):
    @pytest.fixture
    def store(self, nodes):
        async def advance(seconds):
            milliseconds = str(round(seconds * 1000))
            for node in nodes.masters:
                assert "done" == node.ask("EVAL", EARLIER, "0", milliseconds)

        async def interrupt():
            for node in nodes.masters:
                node.server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                node.server.command("CLIENT", "KILL", "TYPE", "pubsub")

        @contextlib.asynccontextmanager
        async def block():
            for node in nodes.nodes:
                node.server.freeze()
            try:
                yield
            finally:
                for node in nodes.nodes:
                    node.server.thaw()

        async def refuse(abilities):
            rules = " ".join(REFUSED[ability] for ability in abilities)
            channels = "resetchannels" if Ability.HEAR in abilities else "&*"
            nodes.allow("app", f"~* +@all {channels} {rules}")

        for node in nodes.masters:
            node.ask("FLUSHALL")
        nodes.allow("app", "~* &* +@all")
        url = nodes.url_of("app")
        return StoreUnderTest(
            lambda: open_cluster(url), advance, interrupt=interrupt, block=block, refuse=refuse
        )
