"""Plugins made on the spot, for tests that need a layer, an operation or an upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from argo_mw.base.clock import Clock
from argo_mw.chain.context import Context
from argo_mw.model.guard import Guard
from argo_mw.model.layer import Layer
from argo_mw.model.operation import AnyOperation
from argo_mw.model.upstream import Upstream
from argo_mw.registry.hooks import hookimpl
from argo_mw.store.protocol import Shared
from argo_mw.store.urls import OpenShared
from argo_mw.testing.unreachable_store import UnreachableStore
from argo_mw.testing.upstreams import Scripted


class FakePlugin:
    """A plugin that registers what it is given; for ``Argo.open(plugins={"name": …})``.

    It also brings the store ``unreachable://``.
    """

    def __init__(
        self,
        *,
        operations: Iterable[AnyOperation] = (),
        upstreams: Iterable[Upstream | Scripted] = (),
        layer: Layer | None = None,
        layers: Iterable[Layer] = (),
        data_types: Iterable[str] = (),
        guards: Callable[[Upstream], Iterable[Guard]] | None = None,
        config: type | None = None,
    ) -> None:
        self._operations = tuple(operations)
        self._upstreams = tuple(u.upstream if isinstance(u, Scripted) else u for u in upstreams)
        self._layers = (*([layer] if layer is not None else []), *layers)
        self._data_types = tuple(data_types)
        self._guards = guards
        self._config = config
        self.context: Context | None = None

    @hookimpl
    def register_config(self) -> type | None:
        return self._config

    @hookimpl
    def register_shared_drivers(self) -> Mapping[str, OpenShared]:
        return {"unreachable": _open_unreachable}

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        return self._operations

    @hookimpl
    def register_upstreams(self, context: Context) -> Iterable[Upstream]:
        self.context = context
        return self._upstreams

    @hookimpl
    def register_layers(self) -> Iterable[Layer]:
        return self._layers

    @hookimpl
    def register_data_types(self) -> Iterable[str]:
        return self._data_types

    @hookimpl
    def register_guards(self, upstream: Upstream) -> Iterable[Guard]:
        return self._guards(upstream) if self._guards is not None else ()


async def _open_unreachable(url: str, clock: Clock) -> Shared:
    return UnreachableStore()
