"""Stand-ins: what refuses the calls of layers that fail closed and are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from attrs import evolve

from argo_mw.app.pipeline import Contributions
from argo_mw.chain.isolation import unavailable
from argo_mw.model.call import Call
from argo_mw.model.layer import Layer, Next, Serves
from argo_mw.model.operation import AnyOperation
from argo_mw.model.outcome import Outcome
from argo_mw.registry import BrokenPlugin


class StandIns:
    """Stands in for the layers of plugins that were left out, where they fail closed.

    A stand-in has the place, the flag and the operations of its layer: it refuses what the layer
    would have seen, and nothing where that is switched off.
    """

    def __init__(self) -> None:
        self._layers: dict[str, Sequence[Layer]] = {}
        self._made: dict[str, Contributions] = {}

    def remember(self, plugin: str, layers: Sequence[Layer]) -> None:
        """Note which *layers* the current configuration of *plugin* has brought."""
        self._layers[plugin] = [layer for layer in layers if layer.fail_closed]
        self._made.pop(plugin, None)

    def of(self, broken: Sequence[BrokenPlugin]) -> dict[str, Contributions]:
        """Return what stands in for plugins that are *broken* and left out, by their names."""
        for one in broken:
            layers = self._layers.get(one.plugin)
            if layers and one.plugin not in self._made:
                self._made[one.plugin] = Contributions(
                    None, layers=tuple(_stand_in(layer, one) for layer in layers), stands_in=True
                )
        return {one.plugin: self._made[one.plugin] for one in broken if one.plugin in self._made}


class _Refusing:
    """The middleware of a stand-in."""

    def __init__(self, layer: Layer, why: str) -> None:
        self._layer = layer
        self._why = why

    async def __call__(self, call: Call, call_next: Next) -> NoReturn:
        """Refuse *call*.

        Raises:
            LayerUnavailable: Always.
        """
        raise unavailable(self._layer, call, self._why, "fix it and restart")

    def explain(self, call: Call) -> str:
        """Say why *call* would be refused."""
        return f"would refuse: {self._why}"

    async def shadow(self, call: Call, outcome: Outcome) -> None:
        """Serve and refuse nothing, like any layer in shadow."""


def _stand_in(layer: Layer, broken: BrokenPlugin) -> Layer:
    plugin = broken.plugin
    # A plugin whose layer bears another's name is left out for that, and must not use it.
    own = layer if layer.flag == plugin else evolve(layer, name=f"{plugin}.{layer.name}")
    error = " ".join(broken.error.split())
    why = f"it is left out, because its plugin failed at {broken.stage}: {error}"
    return evolve(own, middleware=_Refusing(own, why), serves=_known_to_serve(layer.serves))


def _known_to_serve(serves: Serves) -> Serves:
    """Return *serves*, which counts what it fails for as served."""

    def served(operation: AnyOperation) -> bool:
        try:
            return bool(serves(operation))
        except Exception:
            return True

    return served
