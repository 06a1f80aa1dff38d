"""What the plugin registers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files

from argo_mw.plugin import AnyOperation, Context, Layer, Panel, PluginTemplate, Upstream, hookimpl
from argo_mw_similarity import hookspecs
from argo_mw_similarity.comparison.policy import Policy
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.factory import embedder_of, from_plugins, slots_of
from argo_mw_similarity.language.lexicon import Lexicon
from argo_mw_similarity.layer import NAME, Similarity
from argo_mw_similarity.opinions.same_question import judge_upstream, same_question
from argo_mw_similarity.panel import panel
from argo_mw_similarity.search.embedding_batcher import EmbeddingBatcher


class SimilarityPlugin:
    """The plugin; it owns the embedder, which the layers of one configuration after another use."""

    def __init__(self) -> None:
        self._config = SimilarityConfig()
        self._chosen: tuple[str, str] | None = None
        self._batcher: EmbeddingBatcher | None = None

    @hookimpl
    def register_config(self) -> type:
        """Return the class of the table ``[plugins.similarity]``."""
        return SimilarityConfig

    @hookimpl
    def register_hookspecs(self) -> object:
        """Return the hooks that other plugins may implement for this one."""
        return hookspecs

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return the question that a judge is asked."""
        return [same_question]

    @hookimpl
    def register_upstreams(self, config: SimilarityConfig, context: Context) -> Iterable[Upstream]:
        """Return what asks the model that is configured as the judge, if one is."""
        return [judge_upstream(context, config.judge_model)] if config.judge_model else []

    @hookimpl
    def register_layers(self, config: SimilarityConfig, context: Context) -> Iterable[Layer]:
        """Return the layer in its slot."""

        def policies(lexicon: Lexicon) -> dict[str, Policy]:
            return from_plugins(context, "similarity_policies", config=config, lexicon=lexicon)

        self._config = config
        layer = Similarity(
            config,
            context,
            policies=policies,
            batcher=self._batcher_for(config, context),
            slots=slots_of(config, _mappings(context.collect("similarity_slots"))),
        )
        return [Layer(NAME, layer, slot=NAME, serves=layer.serves)]

    @hookimpl
    def register_panels(self, context: Context) -> Iterable[Panel]:
        """Return the panel of the newest prompts that were served a known answer."""
        return [panel(context, lambda: self._config)]

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
                commands='$name = "argo_mw.cli:no_commands"',
                flags=(),
            )
        }

    def _batcher_for(self, config: SimilarityConfig, context: Context) -> EmbeddingBatcher | None:
        """Return the embedder of *config*: the one in use, unless *config* names another."""
        chosen = (config.embedder, config.model)
        if chosen != self._chosen:
            hook = "similarity_embedders"
            others = from_plugins(context, hook, config=config, context=context)
            embedder = embedder_of(config, others)
            self._batcher = None
            if embedder is not None:
                self._batcher = EmbeddingBatcher(embedder, context.clock)
            self._chosen = chosen
        return self._batcher


def _mappings(answers: Mapping[str, object]) -> list[Mapping[str, Mapping[str, object]]]:
    return [answer for answer in answers.values() if isinstance(answer, Mapping)]
