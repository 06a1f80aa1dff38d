"""OpenTelemetry's conventions for generative AI, v0.1.0 of ``semantic-conventions-genai``.

They are in development, and so opted into: by ``gen_ai = true``, or by the environment variable
that the conventions name. Each request to a model is one operation here, a retry and a hedge too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from argo_mw.plugin import Counts, ModelCounts, UpstreamCounts
from argo_mw_metrics.metric import Metric, Point
from argo_mw_metrics.moment import Moment

OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST: Final = "gen_ai_latest_experimental"

SECONDS: Final = tuple(0.01 * 2.0**power for power in range(14))
"""The upper bounds of buckets that the conventions name, in seconds."""

_PREFIX = "gen_ai.client.inference."
_WHO = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.response.model")
_UNKNOWN_MODALITY = "unknown"
_NO_INFERENCE = "embeddings"
"""The task that the conventions measure apart from inference."""


def is_opted_in(configured: bool | None) -> bool:
    """Return whether these metrics are shown: as *configured*, else as the environment says."""
    if configured is not None:
        return configured
    return LATEST in {word.strip() for word in os.environ.get(OPT_IN, "").split(",")}


def model_points(moment: Moment) -> Iterator[tuple[Counts, str, str, ModelCounts]]:
    """Yield what each model did: counts of the operation, upstream, model, its own counts."""
    for one in moment.counts:
        for upstream, counts in one.upstreams.items():
            for model, of_model in _whatever_the_task(counts).items():
                yield one, upstream, model, of_model


def _whatever_the_task(counts: UpstreamCounts) -> Mapping[str, ModelCounts]:
    if not counts.tasks:
        return counts.models
    found: dict[str, ModelCounts] = {}
    for _, models in counts.by_task():
        for model, of_model in models.items():
            found.setdefault(model, ModelCounts()).add(of_model)
    return found


def _inferences(moment: Moment) -> Iterator[tuple[tuple[str, str, str], ModelCounts]]:
    for one in moment.counts:
        for upstream, counts in one.upstreams.items():
            provider = moment.providers.get(upstream, upstream)
            for task, models in counts.by_task():
                if provider and task != _NO_INFERENCE:
                    for model, of_model in models.items():
                        yield (task or "chat", provider, model), of_model


def _durations(moment: Moment) -> Iterable[Point]:
    for who, counts in _inferences(moment):
        for error, seconds in counts.durations.items():
            yield (*who, error), seconds


def _first_chunks(moment: Moment) -> Iterable[Point]:
    for who, counts in _inferences(moment):
        if counts.first_chunks.count:  # of streams only
            yield who, counts.first_chunks


def _usage(read: Callable[[ModelCounts], int]) -> Callable[[Moment], Iterable[Point]]:
    def points(moment: Moment) -> Iterable[Point]:
        return [((*who, _UNKNOWN_MODALITY), read(counts)) for who, counts in _inferences(moment)]

    return points


def _tokens(name: str, description: str, read: Callable[[ModelCounts], int]) -> Metric:
    who = (*_WHO, "gen_ai.token.modality")
    name = f"{_PREFIX}usage.{name}"
    return Metric(name, "counter", "{token}", description, who, _usage(read), gen_ai=True)


GEN_AI: Final = (
    Metric(
        _PREFIX + "duration",
        "histogram",
        "s",
        "From sending a request to a model to the end of its answer",
        (*_WHO, "error.type"),
        _durations,
        bounds=SECONDS,
        gen_ai=True,
    ),
    Metric(
        _PREFIX + "time_to_first_chunk",
        "histogram",
        "s",
        "From sending a request to a model to the first piece of its streamed answer",
        _WHO,
        _first_chunks,
        bounds=SECONDS,
        gen_ai=True,
    ),
    _tokens("input_tokens", "Tokens sent, cached ones included", lambda one: one.tokens_in),
    _tokens("output_tokens", "Tokens received, reasoning included", lambda one: one.tokens_out),
    _tokens(
        "cache_read.input_tokens",
        "Tokens sent that the provider read from its cache",
        lambda one: one.tokens_cached,
    ),
    _tokens(
        "cache_write.input_tokens",
        "Tokens sent that the provider wrote to its cache",
        lambda one: one.tokens_written,
    ),
    _tokens(
        "reasoning.output_tokens",
        "Tokens received that the model has reasoned with",
        lambda one: one.tokens_reasoned,
    ),
)
"""The metrics of the conventions, of requests to models but for embeddings."""
