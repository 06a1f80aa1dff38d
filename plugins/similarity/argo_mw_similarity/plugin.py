"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import click

from argo_mw import Context, Layer, hookimpl
from argo_mw_similarity import hooks
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.layer import NAME, Similarity
from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.parts import brought, embedder_of, slots_of
from argo_mw_similarity.policy import Policy


class SimilarityPlugin:
    """The plugin; keeps apart what several applications in one process have open."""

    def __init__(self) -> None:
        self._layers: WeakKeyDictionary[Context, list[Similarity]] = WeakKeyDictionary()

    def layer_of(self, context: Context) -> Similarity:
        """The layer in use in the application of *context*, for commands and tests."""
        return self._layers[context][-1]

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.similarity]``."""
        return SimilarityConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """The hooks of :mod:`argo_mw_similarity.hooks`."""
        return hooks

    @hookimpl
    def register_layer(self, config: SimilarityConfig, context: Context) -> Layer:
        """The layer in its slot."""

        def policies(lexicon: Lexicon) -> dict[str, Policy]:
            return brought(context, "similarity_policies", config=config, lexicon=lexicon)

        embedder = embedder_of(
            config, brought(context, "similarity_embedders", config=config, context=context)
        )
        if embedder is None and config.embedder != "none":
            what = "no embedder is installed: only equal texts and slots are found"
            context.trouble(NAME, f"{what}; pip install 'argo-mw-similarity[onnx]'")
        slots = slots_of(config, _mappings(context.collect("similarity_slots")))
        layer = Similarity(config, context, policies=policies, embedder=embedder, slots=slots)
        self._layers.setdefault(context, []).append(layer)
        return Layer(
            NAME, layer, slot=NAME, serves=layer.serves, explain=layer.explain, shadow=layer.shadow
        )

    @hookimpl
    async def startup(self, context: Context) -> None:
        """Load lexicon and model, off the loop."""
        await self.layer_of(context).load()

    @hookimpl
    async def config_changed(self, context: Context) -> None:
        """Load the new parts and let go of the old ones."""
        *old, new = self._layers[context]
        await new.load()
        self._layers[context] = [new]
        for layer in old:
            await layer.aclose()

    @hookimpl
    async def shutdown(self, context: Context) -> None:
        """End the embedder's thread and stop listening."""
        for layer in self._layers.pop(context, []):
            await layer.aclose()

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """``argo-mw similarity``."""
        from argo_mw_similarity.cli import similarity

        cli.add_command(similarity)


def _mappings(answers: Mapping[str, object]) -> list[Mapping[str, Mapping[str, object]]]:
    return [answer for answer in answers.values() if isinstance(answer, Mapping)]
