"""Plugins made on the spot, for tests that need a layer, an operation or an upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from argo_mw.clock import Clock
from argo_mw.context import Context
from argo_mw.guard import Guard
from argo_mw.hooks import hookimpl
from argo_mw.layer import Layer
from argo_mw.operation import Operation
from argo_mw.shared.protocol import Shared
from argo_mw.shared.urls import OpenShared
from argo_mw.testing.away import AwayShared
from argo_mw.testing.upstreams import Scripted
from argo_mw.upstream import Upstream


class FakePlugin:
    """A plugin that registers what it is given; for ``Argo.open(plugins={"name": …})``.

    It also brings the store ``away://``, which can never be reached.
    """

    def __init__(
        self,
        *,
        operations: Iterable[Operation] = (),
        upstreams: Iterable[Upstream | Scripted] = (),
        layer: Layer | None = None,
        guards: Callable[[Upstream], Iterable[Guard]] | None = None,
        config: type | None = None,
    ) -> None:
        self._operations = tuple(operations)
        self._upstreams = tuple(u.upstream if isinstance(u, Scripted) else u for u in upstreams)
        self._layer = layer
        self._guards = guards
        self._config = config
        self.context: Context | None = None

    @hookimpl
    def register_config(self) -> type | None:
        return self._config

    @hookimpl
    def register_shared_drivers(self) -> Mapping[str, OpenShared]:
        return {"away": _open_away}

    @hookimpl
    def register_operations(self) -> Iterable[Operation]:
        return self._operations

    @hookimpl
    def register_upstreams(self, context: Context) -> Iterable[Upstream]:
        self.context = context
        return self._upstreams

    @hookimpl
    def register_layer(self) -> Layer | None:
        return self._layer

    @hookimpl
    def register_guards(self, upstream: Upstream) -> Iterable[Guard]:
        return self._guards(upstream) if self._guards is not None else ()


async def _open_away(url: str, clock: Clock) -> Shared:
    return AwayShared()
