"""Which flags are on, and how the arms of a ramp compare."""

from __future__ import annotations

from typing import Final

from argo_mw_metrics.monitoring.panels import (
    OPERATION,
    Dashboard,
    Panel,
    Query,
    Row,
    grouped,
    only,
    per_hour,
    quantile,
    rate,
    ratio,
)

_FLAG_ARM = ("argo_mw_flag", "argo_mw_arm")
_ARM_LEGEND = "{{argo_mw_flag}} {{argo_mw_arm}}"


ROLLOUT: Final = Dashboard(
    "rollout",
    "argo-mw: rollout",
    "Which flags are on, and how the arms of a ramp compare.",
    [
        Row(
            "Flags",
            [
                Panel(
                    "States",
                    [
                        Query(
                            "max by (argo_mw_flag, argo_mw_state) "
                            f"(argo_mw_flag_state{only()}) == 1",
                            "{{argo_mw_flag}} {{argo_mw_state}}",
                        )
                    ],
                    view="table",
                    width=12,
                ),
                Panel(
                    "Share of calls",
                    [
                        Query(
                            f"max by (argo_mw_flag) (argo_mw_flag_percent{only()})",
                            "{{argo_mw_flag}}",
                        )
                    ],
                    "percent",
                    width=12,
                ),
            ],
        ),
        Row(
            "Arms of flags that are being ramped",
            [
                Panel(
                    "Calls a second",
                    [Query(grouped(rate("argo_mw_arm_calls_total"), *_FLAG_ARM), _ARM_LEGEND)],
                    "reqps",
                    about="Equal shares up to 50 %; a mismatch is a fault.",
                ),
                Panel(
                    "Share that fails",
                    [
                        Query(
                            ratio(
                                rate("argo_mw_arm_failures_total"),
                                rate("argo_mw_arm_calls_total"),
                                *_FLAG_ARM,
                            ),
                            _ARM_LEGEND,
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "p95",
                    [
                        Query(
                            quantile(0.95, "argo_mw_arm_duration_seconds", *_FLAG_ARM), _ARM_LEGEND
                        )
                    ],
                    "s",
                ),
                Panel(
                    "Hit rate",
                    [
                        Query(
                            ratio(
                                rate("argo_mw_arm_hits_total"),
                                rate("argo_mw_arm_calls_total"),
                                *_FLAG_ARM,
                            ),
                            _ARM_LEGEND,
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Requests for each call",
                    [
                        Query(
                            ratio(
                                rate("argo_mw_arm_requests_total"),
                                rate("argo_mw_arm_calls_total"),
                                *_FLAG_ARM,
                            ),
                            _ARM_LEGEND,
                        )
                    ],
                ),
                Panel(
                    "Cost of a call",
                    [
                        Query(
                            ratio(
                                rate("argo_mw_arm_cost_USD_total"),
                                rate("argo_mw_arm_calls_total"),
                                *_FLAG_ARM,
                            ),
                            _ARM_LEGEND,
                        )
                    ],
                    "currencyUSD",
                ),
            ],
        ),
        Row(
            "Layers in shadow, and checks",
            [
                Panel(
                    "Calls that a layer in shadow would have answered",
                    [
                        Query(
                            ratio(
                                rate("argo_mw_shadow_hits_total"),
                                rate("argo_mw_shadow_calls_total"),
                                "argo_mw_layer",
                            ),
                            "{{argo_mw_layer}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Of these, answers that would have differed",
                    [
                        Query(
                            ratio(
                                rate("argo_mw_shadow_unequal_total"),
                                rate("argo_mw_shadow_hits_total"),
                                "argo_mw_layer",
                            ),
                            "{{argo_mw_layer}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "What these would have saved an hour",
                    [
                        Query(
                            grouped(
                                per_hour("argo_mw_shadow_saved_cost_USD_total"), "argo_mw_layer"
                            ),
                            "{{argo_mw_layer}}",
                        )
                    ],
                    "currencyUSD",
                ),
                Panel(
                    "Requests that check what is served",
                    [
                        Query(
                            grouped(rate("argo_mw_audits_total"), OPERATION),
                            "{{argo_mw_operation}}",
                        )
                    ],
                    "reqps",
                ),
            ],
        ),
    ],
)
