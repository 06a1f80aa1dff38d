"""Gauges: what a plugin says that something stands at now, read by all that show figures."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from argo_mw import Argo, PluginError
from argo_mw.plugin import Context, Gauge, context_of, hookimpl


class Pool:
    used = 3

    @hookimpl
    def register_gauges(self, context: Context) -> Iterable[Gauge]:
        return [Gauge("pool.used", lambda: self.used, "{connection}")]


class Wrong:
    @hookimpl
    def register_gauges(self) -> object:
        return [3]


def opened(**plugins: object) -> Argo:
    config = {"argo": {"shared": "memory://", "strict": True}}
    return Argo.open(config, plugins=plugins, installed=False)


async def test_a_gauge_is_read_when_somebody_looks() -> None:
    pool = Pool()
    async with opened(pool=pool) as argo:
        asked = context_of(argo).collect("register_gauges", context=context_of(argo))
        [gauge] = asked["pool"]  # type: ignore[misc]
        pool.used = 4
        assert 4 == gauge.read()


async def test_what_is_no_gauge_is_refused_with_the_name_of_its_plugin() -> None:
    async with opened(wrong=Wrong()) as argo:
        with pytest.raises(PluginError, match=r"'wrong'.*register_gauges.*argo_mw\.plugin\.Gauge"):
            context_of(argo).collect("register_gauges", context=context_of(argo))
