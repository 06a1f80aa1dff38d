"""What language models take, cost and would have cost."""

from __future__ import annotations

from typing import Final

from argo_mw_metrics.monitoring.panels import (
    CALLS,
    COST,
    OPERATION,
    SAVED,
    UPSTREAM,
    Dashboard,
    Panel,
    Query,
    Row,
    grouped,
    only,
    per_hour,
    quantiles,
    rate,
    ratio,
)

_TOKENS = "argo_mw_model_tokens_total"
_INFERENCE = "gen_ai_client_inference"
_MODEL = "gen_ai_response_model"
_LIMIT = "argo_mw_limit"
_BUDGETS = 'argo_mw_guard="llm budgets"'
_OPTED_IN = "With gen_ai = true in [plugins.metrics]."


MODELS: Final = Dashboard(
    "models",
    "argo-mw: models and cost",
    "What language models take, cost and would have cost.",
    [
        Row(
            "Money",
            [
                Panel(
                    "Cost an hour, by model",
                    [
                        Query(
                            grouped(per_hour("argo_mw_model_cost_USD_total"), UPSTREAM, _MODEL),
                            "{{argo_mw_upstream}} {{gen_ai_response_model}}",
                        )
                    ],
                    "currencyUSD",
                ),
                Panel(
                    "Cost an hour, by operation",
                    [Query(grouped(per_hour(COST), OPERATION), "{{argo_mw_operation}}")],
                    "currencyUSD",
                ),
                Panel(
                    "Saved an hour, by layer",
                    [Query(grouped(per_hour(SAVED), "argo_mw_layer"), "{{argo_mw_layer}}")],
                    "currencyUSD",
                    "stack",
                ),
                Panel(
                    "Cost in the time shown",
                    [
                        Query(
                            grouped(f"increase({COST}{only()}[$__range])", UPSTREAM),
                            "{{argo_mw_upstream}}",
                        )
                    ],
                    "currencyUSD",
                    "table",
                ),
                Panel(
                    "Saved in the time shown",
                    [
                        Query(
                            grouped(f"increase({SAVED}{only()}[$__range])", "argo_mw_layer"),
                            "{{argo_mw_layer}}",
                        )
                    ],
                    "currencyUSD",
                    "table",
                ),
                Panel(
                    "Cost of a call",
                    [
                        Query(
                            f"{grouped(rate(COST), OPERATION)} / {grouped(rate(CALLS), OPERATION)}",
                            "{{argo_mw_operation}}",
                        )
                    ],
                    "currencyUSD",
                    about="All calls count, those too that cost nothing.",
                ),
                Panel(
                    "Left of each budget",
                    [
                        Query(
                            grouped(f"argo_mw_guard_left{only(_BUDGETS)}", _LIMIT, function="min"),
                            "{{argo_mw_limit}}",
                        )
                    ],
                    "currencyUSD",
                    width=24,
                    about="By the instance that knows of the least: each knows what was left when "
                    "it last asked; of a period that began since, all. What requests under way "
                    "may cost is taken off.",
                ),
            ],
        ),
        Row(
            "Tokens",
            [
                Panel(
                    "Tokens a second",
                    [
                        Query(
                            grouped(
                                rate(_TOKENS, 'argo_mw_token_type=~"input|output"'),
                                _MODEL,
                                "argo_mw_token_type",
                            ),
                            "{{gen_ai_response_model}} {{argo_mw_token_type}}",
                        )
                    ],
                ),
                Panel(
                    "Share of the prompt read from the provider's cache",
                    [
                        Query(
                            ratio(
                                rate(_TOKENS, 'argo_mw_token_type="cache_read"'),
                                rate(_TOKENS, 'argo_mw_token_type="input"'),
                                _MODEL,
                            ),
                            "{{gen_ai_response_model}}",
                        )
                    ],
                    "percentunit",
                    about="A cache that is written to and never read costs more than none.",
                ),
                Panel(
                    "Share of the answer that is reasoning",
                    [
                        Query(
                            ratio(
                                rate(_TOKENS, 'argo_mw_token_type="reasoning"'),
                                rate(_TOKENS, 'argo_mw_token_type="output"'),
                                _MODEL,
                            ),
                            "{{gen_ai_response_model}}",
                        )
                    ],
                    "percentunit",
                ),
            ],
        ),
        Row(
            "Inference",
            [
                Panel(
                    "Duration",
                    quantiles(
                        f"{_INFERENCE}_duration_seconds", "{{gen_ai_response_model}}", _MODEL
                    ),
                    "s",
                    about=_OPTED_IN,
                ),
                Panel(
                    "Time to the first piece of a stream",
                    quantiles(
                        f"{_INFERENCE}_time_to_first_chunk_seconds",
                        "{{gen_ai_response_model}}",
                        _MODEL,
                    ),
                    "s",
                    about=_OPTED_IN,
                ),
                Panel(
                    "Requests that fail",
                    [
                        Query(
                            grouped(
                                rate(f"{_INFERENCE}_duration_seconds_count", 'error_type!=""'),
                                "gen_ai_provider_name",
                                "error_type",
                            ),
                            "{{gen_ai_provider_name}} {{error_type}}",
                        )
                    ],
                    "ops",
                    about=_OPTED_IN,
                ),
            ],
        ),
    ],
)
