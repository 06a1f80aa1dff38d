"""The Redis driver of Shared."""

from argo_mw_redis.driver import RedisShared, open_redis

__all__ = ["RedisShared", "open_redis"]
