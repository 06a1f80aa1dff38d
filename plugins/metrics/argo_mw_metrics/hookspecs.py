"""The hook that other plugins may implement for this one, marked ``optionalhook=True``."""

from __future__ import annotations

from collections.abc import Mapping

from argo_mw.plugin import hookspec


@hookspec
def register_gen_ai_providers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """The providers behind this plugin's upstreams of language models, by the upstream's name.

    Their names are those of ``gen_ai.provider.name`` in OpenTelemetry's conventions, such as
    ``aws.bedrock``; "" behind an upstream that answers with no inference, such as embeddings. An
    upstream that is left out goes by its own name.

    Implement it with ``@hookimpl(optionalhook=True)``, so that the plugin also works where metrics
    is not installed.
    """
