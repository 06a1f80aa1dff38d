"""The plugin's hooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from argo_mw.plugin import Clock, Context, Gauge, Shared, SharedUnavailable, hookimpl
from argo_mw_redis.cluster import ClusterShared, open_cluster
from argo_mw_redis.driver import RedisShared, open_redis
from argo_mw_redis.gauges import gauges
from argo_mw_redis.servers import CLUSTER, SENTINEL

_QUORUM: Final = 3
"""The fewest masters with which a cluster replaces one that fails."""


async def _open(url: str, clock: Clock) -> Shared:
    return await open_redis(url, clock)


async def _open_cluster(url: str, clock: Clock) -> Shared:
    return await open_cluster(url, clock)


@hookimpl
def register_shared_drivers() -> Mapping[str, object]:
    """Return the URL schemes of Redis and their driver."""
    one = dict.fromkeys(("redis", "rediss", "unix", SENTINEL), _open)
    return {**one, **dict.fromkeys(CLUSTER, _open_cluster)}


@hookimpl
def register_gauges(context: Context) -> Iterable[Gauge]:
    """Return gauges of the connections, and of whether the server can be used."""
    shared = context.shared
    return gauges(shared, context.tag_versions) if isinstance(shared, RedisShared) else []


@hookimpl
async def diagnose(context: Context) -> Iterable[tuple[str, bool, str]]:
    """Check that all servers can be reached, and what they do when they are full."""
    shared = context.shared
    if not isinstance(shared, RedisShared):
        return [("redis", True, "not the shared store here")]
    try:
        infos = await shared.infos()
    except SharedUnavailable as error:
        if shared.unreachable is None:
            what = f"reached; memory and eviction are not known: {error}"
            return [("redis", True, what)]
        return [("redis", False, str(error))]
    return [
        *(_cluster([*infos.values()]) if isinstance(shared, ClusterShared) else ()),
        *(
            (f"{what} of {node}" if node else what, well, found)
            for node, info in infos.items()
            for what, well, found in _server(info)
        ),
    ]


def _cluster(infos: Sequence[Mapping[str, str]]) -> list[tuple[str, bool, str]]:
    """Return whether a cluster survives the failure of one master."""
    masters = len(infos)
    alone = sum(info.get("connected_slaves") == "0" for info in infos)
    what = f"{masters} masters"
    if masters < _QUORUM:
        what += f": with fewer than {_QUORUM} nobody takes over when one fails; add some"
        return [("redis cluster", False, what)]
    if alone:
        what += f", {alone} of them without a replica that takes over: add one to each"
        return [("redis cluster", False, what)]
    return [("redis cluster", True, f"{what}, each with a replica")]


def _server(info: Mapping[str, str]) -> list[tuple[str, bool, str]]:
    version = info.get("valkey_version") or info.get("redis_version", "unknown")
    return [("redis", True, f"version {version}"), _memory(info), _policy(info)]


def _memory(info: Mapping[str, str]) -> tuple[str, bool, str]:
    used = info.get("used_memory_human", "unknown")
    if info.get("maxmemory", "0") == "0":
        return "redis memory", False, f"{used} used, no limit: set maxmemory"
    return "redis memory", True, f"{used} of {info.get('maxmemory_human')} used"


def _policy(info: Mapping[str, str]) -> tuple[str, bool, str]:
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        return (
            "redis eviction",
            True,
            "noeviction: when it is full, quotas refuse and no count is lost",
        )
    advice = "a counter that is evicted forgets its quota: set noeviction where quotas guard money"
    return "redis eviction", True, f"{policy}: {advice}"
