"""Writes dashboards and rules as files: ``python -m argo_mw_metrics.monitoring.files``.

That needs ``grafana-foundation-sdk`` and PyYAML, as development does; using the files does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import yaml
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from argo_mw_metrics.monitoring.alerts import ALERTS, Alert
from argo_mw_metrics.monitoring.dashboards import DASHBOARDS
from argo_mw_metrics.monitoring.panels import Dashboard, Panel, Query

FOLDER: Final = Path(__file__).parent / "generated"
"""Where the files are, in the package."""

_DATASOURCE: Final = dashboard.DataSourceRef("prometheus", "${datasource}")
_TAG: Final = "argo-mw"


def files() -> dict[str, str]:
    """Return the content of each file, by its name."""
    made = {f"{one.name}.json": dashboard_json(one) for one in DASHBOARDS}
    return {**made, "alerts.yml": rules_yaml()}


def dashboard_json(one: Dashboard) -> str:
    """Return *one* as Grafana imports it."""
    made = (
        builders.Dashboard(one.title)
        .uid(f"argo-mw-{one.name}")
        .description(one.about)
        .tags([_TAG])
        .time("now-3h", "now")
        .refresh("30s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("argo-mw")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(
            builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_instances())
    )
    for row in one.rows:
        made.with_row(builders.Row(row.title))
        for panel in row.panels:
            made.with_panel(_panel(panel))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def rules_yaml() -> str:
    """Return the alert rules as Prometheus reads them."""
    groups = [{"name": "argo-mw", "rules": [_rule(alert) for alert in ALERTS]}]
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=100)


def _rule(alert: Alert) -> dict[str, object]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": alert.lasting,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.remedy},
    }


def _instances() -> builders.QueryVariable:
    return (
        builders.QueryVariable("instance")
        .label("Instance")
        .datasource(_DATASOURCE)
        .query("label_values(argo_mw_build_info, instance)")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(True, "All", "$__all"))
    )


def _panel(panel: Panel) -> stat.Panel | table.Panel | timeseries.Panel:
    made: stat.Panel | table.Panel | timeseries.Panel
    match panel.view:
        case "stat":
            made = stat.Panel().graph_mode(common.BigValueGraphMode.AREA).height(4)
        case "table":
            made = table.Panel().height(8)
        case _:
            legend = common_builders.VizLegendOptions().show_legend(True)
            made = timeseries.Panel().height(8).min(0).fill_opacity(10).legend(legend)
            if panel.view == "stack":
                made.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    made.title(panel.title).unit(panel.unit).span(panel.width).datasource(_DATASOURCE)
    if panel.about:
        made.description(panel.about)
    for name, query in zip("ABCDEF", panel.queries, strict=False):
        made.with_target(_target(query, name, as_table=panel.view == "table"))
    return made


def _target(query: Query, name: str, *, as_table: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression).ref_id(name)
    if query.legend:
        target.legend_format(query.legend)
    return target.instant().format(PromQueryFormat.TABLE) if as_table else target


def main() -> None:
    """Write the files anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content, "utf-8")


if __name__ == "__main__":
    main()
