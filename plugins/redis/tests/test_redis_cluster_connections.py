"""URLs of clusters, their secrets, connections, and what is left when a handle is closed."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio.connection import SSLConnection

from argo_mw import Argo, ConfigError, SharedUnavailable
from argo_mw.config import parse
from argo_mw.plugin import context_of
from argo_mw.testing.shared import eventually
from argo_mw_redis import ClusterShared, open_cluster, plugin
from argo_mw_redis.keys import ClusterKeys, slot_of
from argo_mw_redis.plugin import register_shared_drivers
from argo_mw_redis.servers import parse_cluster
from argo_mw_redis.testing_cluster import cluster


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis+cluster://:s3cret@host:7000/2", "a cluster has a single database: leave out '/2'"),
        ("redis+cluster://:s3cret@host:7000/0", "a cluster has a single database: leave out '/0'"),
        ("redis+cluster://:s3cret@host,", "'' is not the address of a node"),
        ("redis+cluster://:s3cret@host:port", "s3cret"),
        ("redis+cluster://:s3cret@host?typo=1", "'typo' is not an option of this driver: known"),
        ("redis+cluster://:s3cret@host?timeot=1", "did you mean 'timeout'?"),
        ("redis+cluster://:s3cret@host?socket_timeout=1", "did you mean 'timeout'?"),
        ("redis+cluster://:s3cret@host?protocol=3", "'protocol' is not an option"),
        ("redis+cluster://:s3cret@host?db=1", "a cluster has a single database: leave out db"),
        ("redis+cluster://:s3cret@host?timeout=never", "timeout must be a number, not 'never'"),
        ("redis+cluster://:s3cret@host?ssl_cert_reqs=none", "with rediss+cluster://"),
        ("rediss+cluster://:s3cret@host?ssl_cert_reqs=maybe", "maybe"),
        ("redis+cluster://:s3cret@host:0", "'host:0' is not the address of a node"),
        ("redis+cluster://:s3cret@one,:s3cret@two", "are given once, before the first address"),
        ("redis+cluster://:s3cret@host?connections=0", "connections must be above 0"),
        ("redis+cluster://:s3cret@host?prefix={app}:", "leave them out"),
        ("redis+cluster://:s3cret/more@host", "%2F"),
    ],
)
async def test_wrong_urls_are_explained_without_their_secrets(url, what):
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        await open_cluster(url)
    assert "s3cret" not in str(caught.value)
    assert what == "s3cret" or what in str(caught.value)


def test_a_url_names_nodes_and_options():
    servers, options = parse_cluster("redis+cluster://me:s3%2Fcret@a:7000,b,[::1]:7001?timeout=2")
    assert (("a", 7000), ("b", 6379), ("::1", 7001)) == servers.start
    assert 2.0 == options.timeout
    arguments = servers.at(("::2", 5))._pool.connection_kwargs
    assert ("::2", 5, "me", "s3/cret") == tuple(
        arguments[name] for name in ("host", "port", "username", "password")
    )
    assert "cret" not in repr(servers)


def test_nodes_are_reached_over_tls_with_redis_py_s_options():
    servers, _ = parse_cluster("rediss+cluster://a:7000?ssl_ca_certs=/etc/ca.pem")
    pool = servers.at(("b", 7001))._pool
    assert pool.connection_class is SSLConnection
    assert "/etc/ca.pem" == pool.connection_kwargs["ssl_ca_certs"]


def test_both_schemes_are_offered():
    drivers = register_shared_drivers()
    assert drivers["redis+cluster"] is drivers["rediss+cluster"]
    assert drivers["redis"] is not drivers["redis+cluster"]


async def test_one_node_of_the_url_is_enough_and_others_may_be_gone(nodes):
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{nodes.nodes[-1].server.port}"
    shared = await open_cluster(url)
    await shared.set_many({f"key:{n}": b"%d" % n for n in range(100)})
    assert b"7" == await shared.get("key:7")
    await shared.aclose()


async def test_all_nodes_of_the_url_that_are_gone_are_named():
    shared = await open_cluster("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    assert "its node 127.0.0.1:1: " in shared.unreachable
    assert "its node 127.0.0.1:2: " in shared.unreachable
    assert 2 == shared.unreachable.count("start it, or correct the URL")
    await shared.aclose()
    many = await open_cluster("redis+cluster://" + ",".join(f"127.0.0.1:{n}" for n in range(1, 9)))
    assert "127.0.0.1:5: " in many.unreachable
    assert "127.0.0.1:6: " not in many.unreachable
    assert many.unreachable.endswith("; and 3 more of its nodes")
    await many.aclose()


async def test_addresses_that_only_the_cluster_names_and_that_are_wrong_are_explained(tmp_path):
    with cluster(tmp_path / "nodes", replicas=0) as nodes:
        url = nodes.url
        for node in nodes.nodes:
            node.ask("CONFIG", "SET", "cluster-announce-port", "1")
        shared = await open_cluster(url + "?retry_interval=0.01")
        await eventually(lambda: "its node 127.0.0.1:1: " in (shared.unreachable or ""))
        assert "set cluster-announce-ip there" in shared.unreachable
        await shared.aclose()


async def test_nodes_may_be_announced_by_name_or_not_at_all(tmp_path):
    named = ("--cluster-announce-hostname", "localhost")
    kinds = {"hostname": ("localhost", named), "unknown-endpoint": ("127.0.0.1", ())}
    for kind, (host, options) in kinds.items():
        preferred = ("--cluster-preferred-endpoint-type", kind)
        with cluster(tmp_path / kind, *preferred, *options, replicas=0) as nodes:
            shared = await open_cluster(nodes.url)
            await shared.set_many({f"key:{n}": b"%d" % n for n in range(100)})
            assert b"7" == await shared.get("key:7")
            assert {host} == {address[0] for address in shared.router.nodes.topology.addresses}
            await shared.aclose()


async def test_the_framework_opens_it_by_its_url(nodes, tmp_path):
    settings = {"argo": {"shared": nodes.url, "state_dir": str(tmp_path)}}
    async with Argo(parse(settings), plugins={"redis": plugin}, installed=False) as argo:
        assert isinstance(context_of(argo).shared, ClusterShared)


async def test_a_password_is_used_and_never_shown(tmp_path):
    options = ("--requirepass", "s3cret", "--masterauth", "s3cret")
    with cluster(tmp_path / "nodes", *options, password="s3cret", replicas=0) as nodes:
        url = nodes.url.replace("//", "//:s3cret@")
        shared = await open_cluster(url)
        await shared.set("key", b"value")
        assert b"value" == await shared.get("key")
        assert "s3cret" not in repr(vars(shared)) + repr(shared.router.nodes._servers)
        await shared.aclose()
        wrong = await open_cluster(url.replace("s3cret", "wr0ng"))
        with pytest.raises(SharedUnavailable, match="refused the login") as caught:
            await wrong.get("key")
        assert "wr0ng" not in str(caught.value)
        await wrong.aclose()


async def test_gets_of_one_turn_are_one_batch_for_each_node(nodes):
    shared = await open_cluster(nodes.url)
    await asyncio.gather(*(shared.get(f"key:{n}") for n in range(100)))
    batches = []
    for node in shared.router.nodes.masters:
        carry = node._carry
        node._carry = lambda wire, batch, node=node, carry=carry: (
            batches.append((node.address, len(batch))),
            carry(wire, batch),
        )
    await asyncio.gather(*(shared.get(f"key:{n}") for n in range(100)))
    ours = [(address, size) for address, size in batches if size > 1]
    assert 3 == len({address for address, _ in ours})
    assert 100 == sum(size for _, size in ours)
    await shared.aclose()


async def test_nothing_is_left_running(nodes):
    before = asyncio.all_tasks()
    shared = await open_cluster(nodes.url)
    await shared.subscribe("news", lambda _: None, lambda: None)
    await shared.set_many({f"key:{n}": b"" for n in range(10)})
    await shared.aclose()
    assert before == asyncio.all_tasks()


async def test_a_cluster_that_starts_later_is_found(tmp_path):
    with cluster(tmp_path / "nodes", replicas=0) as nodes:
        url = nodes.url
        for node in nodes.nodes:
            node.kill()
        shared = await open_cluster(url + "?retry_interval=0.01")
        with pytest.raises(SharedUnavailable, match="cannot be reached"):
            await shared.get("key")
        for node in nodes.nodes:
            await asyncio.to_thread(node.server.start)
        await eventually(lambda: shared.unreachable is None)
        while True:
            try:
                assert await shared.get("key") is None
            except SharedUnavailable:
                await asyncio.sleep(0.01)
            else:
                break
        await shared.aclose()


async def test_callers_of_a_node_that_hangs_do_not_wait_for_long_and_others_not_at_all(nodes):
    keys = ClusterKeys("argo:")
    shared = await open_cluster(nodes.url + "?timeout=2")
    victim, other = nodes.masters[:2]
    slow, quick = (
        next(f"k{n}" for n in range(1_000) if nodes.owner(slot_of(keys.value(f"k{n}"))) is node)
        for node in (victim, other)
    )
    victim.server.freeze()
    try:
        asking = asyncio.ensure_future(shared.get(slow))
        for _ in range(20):
            assert await shared.get(quick) is None
        assert not asking.done()
        with pytest.raises(SharedUnavailable) as caught:
            await asking
        assert caught.value.uncertain
        with pytest.raises(SharedUnavailable) as caught:
            await shared.get(slow)
        assert not caught.value.uncertain
    finally:
        victim.server.thaw()
    await eventually(lambda: shared.unreachable is None)
    await shared.aclose()
