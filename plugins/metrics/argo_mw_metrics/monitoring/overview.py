"""What callers get, from where, how fast, and what it costs."""

from __future__ import annotations

from typing import Final

from argo_mw_metrics.monitoring.panels import (
    ANSWERED,
    CALLS,
    COST,
    FAILED,
    HIT,
    OPERATION,
    SAVED,
    Dashboard,
    Panel,
    Query,
    Row,
    grouped,
    only,
    per_hour,
    quantile,
    quantiles,
    rate,
    ratio,
)

_DURATION = "argo_mw_call_duration_seconds"
_WAITED = 'argo_mw_waited="true"'
_RATE_OF_HITS = ratio(rate(CALLS, HIT), rate(CALLS, ANSWERED))
_RATE_OF_ERRORS = ratio(rate(CALLS, FAILED), rate(CALLS))


def _number(title: str, expression: str, unit: str, about: str = "") -> Panel:
    return Panel(title, [Query(expression)], unit, "stat", 3, about)


OVERVIEW: Final = Dashboard(
    "overview",
    "argo-mw: overview",
    "What callers get, from where, how fast, and what it costs.",
    [
        Row(
            "Now",
            [
                _number("Calls a second", grouped(rate(CALLS)), "reqps"),
                _number("Hit rate", _RATE_OF_HITS, "percentunit", "Answers that a layer had."),
                _number("Errors", _RATE_OF_ERRORS, "percentunit", "Of calls that ended."),
                _number("p95 of all calls", quantile(0.95, _DURATION), "s"),
                _number("Cost an hour", grouped(per_hour(COST)), "currencyUSD"),
                _number("Saved an hour", grouped(per_hour(SAVED)), "currencyUSD"),
                _number("Instances", f"count(argo_mw_build_info{only()})", "short"),
                _number(
                    "Problems in an hour",
                    grouped(f"increase(argo_mw_troubles_total{only()}[1h])"),
                    "short",
                    "The log says what happened and what to do.",
                ),
            ],
        ),
        Row(
            "Calls",
            [
                Panel(
                    "Calls a second",
                    [Query(grouped(rate(CALLS), OPERATION), "{{argo_mw_operation}}")],
                    "reqps",
                ),
                Panel(
                    "What answers them",
                    [
                        Query(
                            grouped(rate(CALLS, ANSWERED), "argo_mw_served_by"),
                            "{{argo_mw_served_by}}",
                        )
                    ],
                    "reqps",
                    "stack",
                ),
                Panel(
                    "Errors",
                    [
                        Query(
                            grouped(rate(CALLS, FAILED), OPERATION, "error_type"),
                            "{{argo_mw_operation}} {{error_type}}",
                        )
                    ],
                    "reqps",
                ),
                Panel("Latency of all calls", quantiles(_DURATION, "all"), "s"),
                Panel(
                    "Latency of calls that waited",
                    quantiles(_DURATION, "{{argo_mw_operation}}", OPERATION, where=(_WAITED,)),
                    "s",
                ),
                Panel(
                    "Age of what is served",
                    quantiles("argo_mw_answer_age_seconds", "{{argo_mw_operation}}", OPERATION),
                    "s",
                    about="How long ago the moment was that an answer speaks for.",
                ),
            ],
        ),
        Row(
            "Layers",
            [
                Panel(
                    "Hit rate",
                    [
                        Query(
                            ratio(rate(CALLS, HIT), rate(CALLS, ANSWERED), OPERATION),
                            "{{argo_mw_operation}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Requests that layers saved",
                    [
                        Query(
                            grouped(rate("argo_mw_saved_requests_total"), "argo_mw_layer"),
                            "{{argo_mw_layer}}",
                        )
                    ],
                    "reqps",
                    "stack",
                ),
                Panel(
                    "What layers do",
                    [
                        Query(
                            grouped(
                                rate("argo_mw_layer_actions_total"),
                                "argo_mw_layer",
                                "argo_mw_action",
                            ),
                            "{{argo_mw_layer}} {{argo_mw_action}}",
                        )
                    ],
                    "ops",
                ),
                Panel(
                    "Calls that bypassed a broken layer",
                    [
                        Query(
                            grouped(rate("argo_mw_layer_bypasses_total"), "argo_mw_layer"),
                            "{{argo_mw_layer}}",
                        )
                    ],
                    "reqps",
                    about="A layer has a bug: read the log, and kill its flag.",
                ),
                Panel(
                    "Refreshes",
                    [
                        Query(
                            grouped(rate("argo_mw_refreshes_total"), OPERATION),
                            "{{argo_mw_operation}}",
                        )
                    ],
                    "reqps",
                ),
                Panel(
                    "Problems",
                    [
                        Query(
                            grouped(
                                f"increase(argo_mw_troubles_total{only()}[1h])", "argo_mw_where"
                            ),
                            "{{argo_mw_where}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Room that is left",
            [
                Panel(
                    "Answers in memory",
                    [
                        Query(
                            f"argo_mw_cache_entries{only()} / argo_mw_cache_entries_limit{only()}",
                            "answers {{instance}}",
                        ),
                        Query(
                            f"argo_mw_cache_size_bytes{only()} "
                            f"/ argo_mw_cache_size_limit_bytes{only()}",
                            "bytes {{instance}}",
                        ),
                    ],
                    "percentunit",
                ),
                Panel(
                    "Records that wait to be written",
                    [
                        Query(
                            f"argo_mw_persist_queue_size{only()} "
                            f"/ argo_mw_persist_queue_limit{only()}",
                            "{{instance}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Connections in use",
                    [
                        Query(
                            "sum by (instance, db_client_connection_pool_name) ("
                            "db_client_connection_count"
                            + only('db_client_connection_state="used"')
                            + ") / sum by (instance, db_client_connection_pool_name) ("
                            + f"db_client_connection_max{only()})",
                            "{{db_client_connection_pool_name}} {{instance}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Background tasks",
                    [Query(f"argo_mw_tasks{only()}", "{{instance}}")],
                    about="One that grows without end is a leak.",
                ),
                Panel(
                    "Chains built an hour",
                    [Query(f"increase(argo_mw_rebuilds_total{only()}[1h])", "{{instance}}")],
                    about="At the start, and for each change of flags or settings.",
                ),
                Panel(
                    "Versions",
                    [Query(f"argo_mw_build_info{only()}", "{{argo_mw_version}}")],
                    view="table",
                ),
                Panel(
                    "Up since",
                    [Query(f"1000 * argo_mw_start_time_seconds{only()}", "{{instance}}")],
                    "dateTimeAsIso",
                    "table",
                ),
            ],
        ),
    ],
)
