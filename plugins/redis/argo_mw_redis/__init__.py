"""The Redis driver of Shared."""

from argo_mw_redis.cluster import ClusterShared, open_cluster
from argo_mw_redis.driver import RedisShared, open_redis

__all__ = ["ClusterShared", "RedisShared", "open_cluster", "open_redis"]
