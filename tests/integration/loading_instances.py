"""Instances of one application, with cache and coalesce, that share a store and ask for quotes."""

from __future__ import annotations

from argo_mw import Argo
from argo_mw.plugin import operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_cache import CachePlugin
from argo_mw_coalesce import plugin as coalesce


@operation(timeout=60.0, subject="symbol")
def quote(symbol: str) -> object:
    """The price of one symbol."""


def answering(name: str = "a") -> Scripted:
    """Return an upstream that answers every quote with its own name."""
    return Scripted(name, ["quote"], lambda _: name, retries=0)


def instance(
    store: str, clock: FakeClock, *upstreams: Scripted, flags: object = None, **cache: object
) -> Argo:
    """Return an instance with these upstreams, by default one, and *cache* as that plugin's table."""
    settings = {
        "argo": {"shared": store, "strict": True},
        "flags": flags or {},
        "plugins": {"cache": cache} if cache else {},
    }
    asked = FakePlugin(operations=[quote], upstreams=list(upstreams) or [answering()])
    plugins = {"cache": CachePlugin, "coalesce": coalesce, "asked": asked}
    return Argo.open(settings, clock=clock, plugins=plugins, installed=False)
