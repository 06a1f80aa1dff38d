"""The alert rules."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from argo_mw_metrics.monitoring.panels import (
    ANSWERED,
    ATTEMPTS,
    CALLS,
    COST,
    FAILED,
    HIT,
    WENT_WRONG,
)

Severity = Literal["critical", "warning", "info"]


@frozen
class Alert:
    """An alert rule of Prometheus.

    Attributes:
        name: Its name.
        expression: What holds while it fires.
        lasting: How long that has to hold first, such as ``10m``.
        severity: How bad it is.
        summary: What is so, in a line; labels stand in it as Prometheus' templates take them.
        remedy: What to do.
    """

    name: str
    expression: str
    lasting: str
    severity: Severity
    summary: str
    remedy: str


def _new(counter: str) -> str:
    """Return an expression for a *counter* that has grown, its very first count included.

    A counter does not exist before it first counts, and its first count is no increase.
    """
    return f"increase({counter}[10m]) > 0 or {counter} > 0 unless {counter} offset 10m"


ALERTS: Final = (
    Alert(
        "ArgoAbsent",
        "absent(argo_mw_build_info)",
        "5m",
        "critical",
        "No instance of argo-mw can be scraped",
        "See whether the programs run, and whether Prometheus reaches their port",
    ),
    Alert(
        "ArgoErrors",
        f"sum by (argo_mw_operation) (rate({CALLS}{{{FAILED}}}[10m]))"
        f" / sum by (argo_mw_operation) (rate({CALLS}[10m])) > 0.05",
        "10m",
        "critical",
        "{{ $value | humanizePercentage }} of calls of {{ $labels.argo_mw_operation }} fail",
        "Look at the errors by kind on the overview; docs/reference/errors.md says what they mean",
    ),
    Alert(
        "ArgoUpstreamFails",
        f"sum by (argo_mw_upstream) (rate({ATTEMPTS}{{{WENT_WRONG}}}[10m]))"
        f" / sum by (argo_mw_upstream) (rate({ATTEMPTS}[10m])) > 0.2",
        "10m",
        "warning",
        "{{ $value | humanizePercentage }} of attempts at {{ $labels.argo_mw_upstream }} fail",
        "See its own status page; flag upstream.{{ $labels.argo_mw_upstream }} takes it out",
    ),
    Alert(
        "ArgoUpstreamRefused",
        f'sum by (argo_mw_upstream) (rate({ATTEMPTS}{{argo_mw_status="refused"}}[15m]))'
        f" / sum by (argo_mw_upstream) (rate({ATTEMPTS}[15m])) > 0.1",
        "15m",
        "warning",
        "A quota, a budget or a circuit breaker keeps calls from {{ $labels.argo_mw_upstream }}",
        "Find out which by argo-mw explain, and raise the limit or spread the calls",
    ),
    Alert(
        "ArgoBreakerOpen",
        "min by (argo_mw_upstream) "
        '(argo_mw_guard_state{argo_mw_guard="breaker", argo_mw_state="closed"}) == 0'
        f" and sum by (argo_mw_upstream) (rate({ATTEMPTS}[10m])) > 0",
        "5m",
        "warning",
        "The circuit breaker of {{ $labels.argo_mw_upstream }} does not close",
        "The upstream fails at each try: see its own status page, and the log",
    ),
    Alert(
        "ArgoQuotaShort",
        "min by (argo_mw_upstream, argo_mw_limit) "
        '(argo_mw_guard_left{argo_mw_limit="day"}) / '
        "min by (argo_mw_upstream, argo_mw_limit) "
        '(argo_mw_guard_limit{argo_mw_limit="day"}) < 0.1',
        "1m",
        "warning",
        "{{ $labels.argo_mw_upstream }} has {{ $value | humanizePercentage }} left of its day",
        "A day ends at midnight UTC: spread the calls, or let answers live longer until then",
    ),
    Alert(
        "ArgoBudgetShort",
        'min by (argo_mw_limit) (argo_mw_guard_left{argo_mw_guard="llm budgets"}'
        ' / argo_mw_guard_limit{argo_mw_guard="llm budgets"}) < 0.1',
        "1m",
        "warning",
        "{{ $value | humanizePercentage }} is left of a budget: {{ $labels.argo_mw_limit }}",
        "argo-mw budgets lists them: see which operation spends, or raise the budget",
    ),
    Alert(
        "ArgoBudgetStopped",
        "max by (argo_mw_upstream) "
        '(argo_mw_guard_state{argo_mw_guard="llm budgets", argo_mw_state="stopped"}) == 1',
        "0m",
        "critical",
        "A budget is stopped: a request to {{ $labels.argo_mw_upstream }} cost more than it could",
        "The log says what it cost: mend the price, then run argo-mw budgets --lift",
    ),
    Alert(
        "ArgoUpstreamSlow",
        "histogram_quantile(0.95, sum by (le, argo_mw_upstream) "
        "(rate(argo_mw_upstream_duration_seconds_bucket[15m])))"
        " > 2 * histogram_quantile(0.95, sum by (le, argo_mw_upstream) "
        "(rate(argo_mw_upstream_duration_seconds_bucket[15m] offset 1d)))",
        "15m",
        "warning",
        "{{ $labels.argo_mw_upstream }} takes twice as long as a day ago",
        "See its own status page; race can ask another one meanwhile",
    ),
    Alert(
        "ArgoLayerBypassed",
        _new("argo_mw_layer_bypasses_total"),
        "0m",
        "warning",
        "The layer {{ $labels.argo_mw_layer }} has a bug and is bypassed",
        "Read the log; argo-mw flags kill {{ $labels.argo_mw_layer }} switches it off",
    ),
    Alert(
        "ArgoTrouble",
        _new("argo_mw_troubles_total"),
        "0m",
        "warning",
        "A problem was reported by {{ $labels.argo_mw_where }}",
        "The log of {{ $labels.instance }} says what happened and what to do",
    ),
    Alert(
        "ArgoSharedStoreAway",
        "argo_mw_shared_available == 0",
        "2m",
        "critical",
        "The shared store of {{ $labels.instance }} is away or refuses writes",
        "Answers come from memory and upstreams; quotas refuse. See the store's own log",
    ),
    Alert(
        "ArgoRecordsSpooled",
        "argo_mw_persist_spool_size > 0",
        "10m",
        "warning",
        "The database is away: {{ $value }} records wait on {{ $labels.instance }}",
        "They are written when it is back; do not remove the state directory",
    ),
    Alert(
        "ArgoRecordsQueue",
        "argo_mw_persist_queue_size / argo_mw_persist_queue_limit > 0.8",
        "5m",
        "warning",
        "The database cannot keep up on {{ $labels.instance }}",
        "Callers will soon wait, or be refused: look at the database, or record less",
    ),
    Alert(
        "ArgoConnections",
        "sum by (instance, db_client_connection_pool_name) "
        '(db_client_connection_count{db_client_connection_state="used"})'
        " / sum by (instance, db_client_connection_pool_name) (db_client_connection_max) > 0.9",
        "10m",
        "warning",
        "Nearly all connections of {{ $labels.db_client_connection_pool_name }} are in use",
        "Allow more, or find out what holds them",
    ),
    Alert(
        "ArgoSpending",
        f"sum by (argo_mw_upstream) (increase({COST}[1h]))"
        f" > 3 * sum by (argo_mw_upstream) (increase({COST}[1d])) / 24"
        f" and sum by (argo_mw_upstream) (increase({COST}[1h])) > 1",
        "15m",
        "warning",
        "{{ $labels.argo_mw_upstream }} cost {{ $value }} USD in an hour, thrice the day's mean",
        "See which operation on the dashboard of models and cost; a budget would stop it",
    ),
    Alert(
        "ArgoUnpriced",
        "sum by (argo_mw_upstream) (increase(argo_mw_cost_unpriced_total[1h])) > 0",
        "0m",
        "info",
        "Calls to {{ $labels.argo_mw_upstream }} have no known price",
        "Give its prices in the configuration, or install genai-prices",
    ),
    Alert(
        "ArgoHitRateFell",
        "sum by (argo_mw_operation) "
        f"(rate({CALLS}{{{HIT}}}[30m]))"
        f" / sum by (argo_mw_operation) (rate({CALLS}{{{ANSWERED}}}[30m]))"
        " < 0.5 * sum by (argo_mw_operation) "
        f"(rate({CALLS}{{{HIT}}}[30m] offset 1d))"
        " / sum by (argo_mw_operation) "
        f"(rate({CALLS}{{{ANSWERED}}}[30m] offset 1d))",
        "30m",
        "warning",
        "Layers answer half as many calls of {{ $labels.argo_mw_operation }} as a day ago",
        "See whether a layer was switched off, or whether callers ask for other things",
    ),
    Alert(
        "ArgoFlagHeld",
        'max by (argo_mw_flag) (argo_mw_flag_state{argo_mw_state=~"killed|rolled_back"}) == 1',
        "0m",
        "info",
        "The flag {{ $labels.argo_mw_flag }} is held off by a kill or a rollback",
        "argo-mw flags list says since when and why; argo-mw flags revive takes it back",
    ),
    Alert(
        "ArgoVersionsDiffer",
        "count(count by (argo_mw_version) (argo_mw_build_info)) > 1",
        "1h",
        "info",
        "Instances run {{ $value }} versions of argo-mw",
        "Finish the deployment",
    ),
    Alert(
        "ArgoTasksGrow",
        "min_over_time(argo_mw_tasks[1h]) > 1000 + max_over_time(argo_mw_tasks[1h] offset 6h)",
        "1h",
        "warning",
        "Background tasks of {{ $labels.instance }} grow without end",
        "A plugin leaks them: argo-mw doctor names those that run",
    ),
)
"""All alert rules."""
