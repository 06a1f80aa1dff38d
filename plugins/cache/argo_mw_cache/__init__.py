"""Cache: known answers return at once."""

from argo_mw_cache.layer import Cache
from argo_mw_cache.plugin import CacheConfig, CachePlugin

__all__ = ["Cache", "CacheConfig", "CachePlugin"]
