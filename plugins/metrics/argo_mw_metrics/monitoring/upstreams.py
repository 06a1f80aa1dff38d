"""How the services behind the chain answer, and what is asked of them."""

from __future__ import annotations

from typing import Final

from argo_mw_metrics.monitoring.panels import (
    ATTEMPTS,
    COST,
    UPSTREAM,
    WENT_WRONG,
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

LEFT: Final = "argo_mw_guard_left"
LIMIT: Final = "argo_mw_guard_limit"
REFUSES: Final = 'argo_mw_state!="closed"'
"""Selects what guards may be in, but for a breaker that lets all pass."""


def ratio_of(left: str, limit: str) -> str:
    """Return what share of each limit is left, by the instance that knows of the least."""
    labels = (UPSTREAM, "argo_mw_guard", "argo_mw_limit")
    least, most = (grouped(f"{one}{only()}", *labels, function="min") for one in (left, limit))
    return f"{least} / {most}"


UPSTREAMS: Final = Dashboard(
    "upstreams",
    "argo-mw: upstreams",
    "How the services behind the chain answer, and what is asked of them.",
    [
        Row(
            "Requests",
            [
                Panel(
                    "Requests a second",
                    [
                        Query(
                            grouped(rate("argo_mw_upstream_requests_total"), UPSTREAM),
                            "{{argo_mw_upstream}}",
                        )
                    ],
                    "reqps",
                ),
                Panel(
                    "Requests an hour",
                    [
                        Query(
                            grouped(
                                f"increase(argo_mw_upstream_requests_total{only()}[1h])", UPSTREAM
                            ),
                            "{{argo_mw_upstream}}",
                        )
                    ],
                ),
                Panel(
                    "Calls that one request answers",
                    [
                        Query(
                            ratio(
                                rate("argo_mw_upstream_calls_total"),
                                rate("argo_mw_upstream_requests_total"),
                                UPSTREAM,
                            ),
                            "{{argo_mw_upstream}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Answers",
            [
                Panel(
                    "How attempts end",
                    [
                        Query(
                            grouped(rate(ATTEMPTS), UPSTREAM, "argo_mw_status"),
                            "{{argo_mw_upstream}} {{argo_mw_status}}",
                        )
                    ],
                    "ops",
                    "stack",
                    12,
                    "refused: a quota, a budget or a circuit breaker; "
                    "cancelled: another was faster, or the caller left.",
                ),
                Panel(
                    "Share that fails",
                    [
                        Query(
                            ratio(rate(ATTEMPTS, WENT_WRONG), rate(ATTEMPTS), UPSTREAM),
                            "{{argo_mw_upstream}}",
                        )
                    ],
                    "percentunit",
                    width=12,
                ),
                Panel(
                    "Latency",
                    quantiles(
                        "argo_mw_upstream_duration_seconds", "{{argo_mw_upstream}}", UPSTREAM
                    ),
                    "s",
                    width=12,
                ),
                Panel(
                    "Refused by quotas, budgets and breakers",
                    [
                        Query(
                            grouped(rate(ATTEMPTS, 'argo_mw_status="refused"'), UPSTREAM),
                            "{{argo_mw_upstream}}",
                        )
                    ],
                    "ops",
                    width=12,
                ),
            ],
        ),
        Row(
            "Quotas, budgets and circuit breakers",
            [
                Panel(
                    "Left of each quota and budget",
                    [Query(ratio_of(LEFT, LIMIT), "{{argo_mw_upstream}} {{argo_mw_limit}}")],
                    "percentunit",
                    width=12,
                    about="By the instance that knows of the least: each knows what was left when "
                    "it last asked; of a window that began since, all.",
                ),
                Panel(
                    "Instances whose breaker is open or budget stopped, or that were told to wait",
                    [
                        Query(
                            grouped(
                                f"argo_mw_guard_state{only(REFUSES)}",
                                UPSTREAM,
                                "argo_mw_guard",
                                "argo_mw_state",
                            ),
                            "{{argo_mw_upstream}} {{argo_mw_guard}} {{argo_mw_state}}",
                        )
                    ],
                    width=12,
                    about="half-open: the next request shows whether it is healthy again.",
                ),
            ],
        ),
        Row(
            "Races",
            [
                Panel(
                    "How races end",
                    [
                        Query(
                            grouped(
                                rate("argo_mw_layer_actions_total", 'argo_mw_layer="race"'),
                                "argo_mw_action",
                            ),
                            "{{argo_mw_action}}",
                        )
                    ],
                    "ops",
                ),
                Panel(
                    "Cost an hour",
                    [Query(grouped(per_hour(COST), UPSTREAM), "{{argo_mw_upstream}}")],
                    "currencyUSD",
                ),
                Panel(
                    "Calls without a known price",
                    [
                        Query(
                            grouped(rate("argo_mw_cost_unpriced_total"), UPSTREAM),
                            "{{argo_mw_upstream}}",
                        )
                    ],
                    "reqps",
                ),
            ],
        ),
    ],
)
