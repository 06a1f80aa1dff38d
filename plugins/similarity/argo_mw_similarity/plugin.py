"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files

import click

from argo_mw.plugin import Context, Layer, PluginTemplate, hookimpl
from argo_mw_similarity import hooks
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.layer import NAME, Similarity
from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.parts import brought, embedder_of, slots_of
from argo_mw_similarity.policy import Policy


class SimilarityPlugin:
    """The plugin, one for each application."""

    def __init__(self) -> None:
        self._layer: Similarity | None = None

    def layer(self) -> Similarity:
        """Return the layer in use, for commands and tests."""
        assert self._layer is not None, "the plugin is not in use"
        return self._layer

    @hookimpl
    def register_config(self) -> type:
        """The class of the table ``[plugins.similarity]``."""
        return SimilarityConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """The hooks of :mod:`argo_mw_similarity.hooks`."""
        return hooks

    @hookimpl
    def register_layers(self, config: SimilarityConfig, context: Context) -> Iterable[Layer]:
        """The layer in its slot."""

        def policies(lexicon: Lexicon) -> dict[str, Policy]:
            return brought(context, "similarity_policies", config=config, lexicon=lexicon)

        embedder = embedder_of(
            config, brought(context, "similarity_embedders", config=config, context=context)
        )
        if embedder is None and config.embedder != "none":
            what = "no embedder is installed: only equal texts and slots are found"
            context.warn_once(NAME, f"{what}; pip install 'argo-mw-similarity[onnx]'")
        slots = slots_of(config, _mappings(context.collect("similarity_slots")))
        layer = Similarity(config, context, policies=policies, embedder=embedder, slots=slots)
        self._layer = layer
        return [Layer(NAME, layer, slot=NAME, serves=layer.serves)]

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        """``argo-mw similarity``."""
        from argo_mw_similarity.cli import similarity

        cli.add_command(similarity)

    @hookimpl
    def register_templates(self) -> Mapping[str, PluginTemplate]:
        """Return what ``argo-mw new-plugin`` needs to write an embedder."""
        return {
            "embedder": PluginTemplate(
                summary="Turns prompts into vectors for the similarity layer",
                folder=files("argo_mw_similarity") / "templates" / "embedder",
                exports=("Config", "LetterRuns", "Plugin"),
                config='[plugins.similarity]\nembedder = "$name"',
                usage=f"argo-mw flags set {NAME} 10%\nargo-mw flags kill {NAME}",
                dependencies=("argo-mw-similarity", "numpy>=2"),
            )
        }


def _mappings(answers: Mapping[str, object]) -> list[Mapping[str, Mapping[str, object]]]:
    return [answer for answer in answers.values() if isinstance(answer, Mapping)]
