"""Dashboards and alert rules ask for what is there: by a real exposition, and by Prometheus itself."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import promql_parser
import pytest
from promql_parser import AggregateExpr, BinaryExpr, MatrixSelector, VectorSelector

from argo_mw_metrics.monitoring.alerts import ALERTS
from argo_mw_metrics.monitoring.dashboards import DASHBOARDS
from argo_mw_metrics.monitoring.files import FOLDER, files
from argo_mw_metrics.monitoring.panels import Query

from .conftest import Lively

ROOT = Path(__file__).parents[3]
OF_PROMETHEUS = frozenset({"instance", "job", "le"})
"""Labels that no program exposes: Prometheus adds them, and buckets have them."""


def expressions() -> dict[str, str]:
    """All queries of panels, by dashboard and title, as Grafana sends them."""
    found: dict[str, str] = {}
    for dashboard in DASHBOARDS:
        for row in dashboard.rows:
            for panel in row.panels:
                for number, query in enumerate(panel.queries):
                    found[f"{dashboard.name}: {panel.title} {number}"] = asked(query)
    return found


def asked(query: Query, window: str = "5m") -> str:
    """The query as Grafana sends it, with its variables filled in."""
    text = query.expression.replace("$instance", ".*")
    return text.replace("$__rate_interval", window).replace("$__range", window)


PANELS = expressions()
RULES = {alert.name: alert.expression for alert in ALERTS}


def test_the_files_are_what_the_code_generates() -> None:
    """Made anew by: python -m argo_mw_metrics.monitoring.files."""
    there = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert files() == there


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_a_dashboard_has_every_panel_once_and_in_its_place(dashboard) -> None:
    made = json.loads((FOLDER / f"{dashboard.name}.json").read_text("utf-8"))
    panels = [one for one in made["panels"] if one["type"] != "row"]
    assert [p.title for row in dashboard.rows for p in row.panels] == [p["title"] for p in panels]
    taken = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken), "two panels overlap"
    assert all(x < 24 for x, _ in taken)


# By a real exposition


def selected(expression: str) -> list[tuple[str, set[str]]]:
    """The metrics that *expression* selects, each with the labels that it asks about."""
    found: list[tuple[str, set[str]]] = []

    def look(node: object, grouped: frozenset[str]) -> None:
        match node:
            case AggregateExpr():
                by = frozenset(node.modifier.labels if node.modifier else ())
                look(node.expr, grouped | by)
            case BinaryExpr():
                look(node.lhs, grouped)
                look(node.rhs, grouped)
            case MatrixSelector():
                look(node.vector_selector, grouped)
            case VectorSelector():
                matched = {matcher.name for matcher in node.matchers.matchers}
                found.append((node.name or "", matched | grouped))
            case _:
                for argument in getattr(node, "args", None) or ():
                    look(argument, grouped)
                inner = getattr(node, "expr", None)
                if inner is not None:
                    look(inner, grouped)

    look(promql_parser.parse(expression), frozenset())
    return found


def test_what_a_query_selects_is_found() -> None:
    query = (
        'sum by (a, b) (rate(x_total{i=~".*", c!="d"}[5m] offset 1d)) / (count(y) or vector(1)) > 2'
    )
    assert [("x_total", {"a", "b", "c", "i"}), ("y", set())] == selected(query)


async def test_every_query_asks_for_metrics_and_labels_that_there_are(lively: Lively) -> None:
    labels: dict[str, set[str]] = {}
    values: dict[tuple[str, str], set[str]] = {}
    for family in await lively.families():
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
            for label, value in sample.labels.items():
                values.setdefault((sample.name, label), set()).add(value)
    for name, expression in {**PANELS, **RULES}.items():
        for metric, wanted in selected(expression):
            assert metric in labels, f"{name}: there is no {metric}"
            unknown = wanted - labels[metric] - OF_PROMETHEUS
            assert set() == unknown, f"{name}: {metric} has no label {unknown}"
        for metric, label, value in re.findall(r'(\w+)\{[^}]*?(\w+)="([^"]+)"', expression):
            assert value in values[metric, label] | {".*"}, f"{name}: {label} is never {value}"


def test_every_metric_of_the_chain_is_on_a_dashboard() -> None:
    from argo_mw_metrics.catalog import CATALOG

    shown = {re.sub("_(bucket|count|sum)$", "", m) for q in PANELS.values() for m, _ in selected(q)}
    # What the conventions say of tokens is what argo_mw.model.tokens says.
    wanted = {metric.sample for metric in CATALOG if "_usage_" not in metric.sample}
    assert set() == wanted - shown


# By the reference


def documented(page: str) -> dict[str, set[str]]:
    """The metrics in the tables of *page*, by their name in the Prometheus text, with labels."""
    found: dict[str, set[str]] = {}
    for row in re.findall(r"^\| `[\w.]+` \| `(\w+)` \| (.*) \|$", page, re.MULTILINE):
        name, cells = row
        labels = cells.rpartition(" | ")[2]
        found[name] = {one.replace(".", "_") for one in re.findall(r"`([\w.]+)`", labels)}
    return found


async def test_the_reference_lists_just_what_is_there_with_its_labels(lively: Lively) -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    there: dict[str, set[str]] = {}
    for family in await lively.families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        there[name] = labels
    assert documented(page) == there


async def test_the_how_to_asks_for_what_is_there(lively: Lively) -> None:
    page = (ROOT / "docs/how-to/metrics.md").read_text("utf-8")
    asked = set(re.findall(r"\b(?:argo_mw|db_client|gen_ai)_\w+", page)) - {
        "argo_mw_arm_",
        "argo_mw_metrics",
    }
    families = await lively.families()
    samples = {sample.name for family in families for sample in family.samples}
    labels = {label for family in families for s in family.samples for label in s.labels}
    assert asked
    assert set() == asked - samples - labels


# By Prometheus


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; Debian's package prometheus has it")
    return found


def test_promtool_takes_the_rules() -> None:
    checked = subprocess.run(
        [program("promtool"), "check", "rules", FOLDER / "alerts.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == checked.returncode, checked.stderr
    assert f"{len(ALERTS)} rules found" in checked.stdout


def test_the_rules_fire_when_they_should() -> None:
    """By promtool's tests of rules: tests/rules.yml says what there is and what fires."""
    tested = subprocess.run(
        [program("promtool"), "test", "rules", Path(__file__).parent / "rules.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == tested.returncode, tested.stdout + tested.stderr


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[str]:
    """Prometheus, which scrapes *target* of this machine twice a second; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 500ms, evaluation_interval: 1s}\n"
        f"rule_files: [{FOLDER / 'alerts.yml'}]\n"
        "scrape_configs:\n"
        "  - job_name: argo-mw\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    )
    command = (
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait()


async def answer(url: str, path: str, **parameters: str) -> dict[str, object]:
    """What Prometheus answers, once it does."""
    query = f"{url}/api/v1/{path}?{urlencode(parameters)}"
    while True:
        try:
            text = await asyncio.to_thread(lambda: urlopen(query, timeout=60).read())
        except OSError:
            await asyncio.sleep(0.1)
        else:
            data: dict[str, object] = json.loads(text)["data"]
            return data


async def test_prometheus_has_data_for_every_panel(lively: Lively, tmp_path: Path) -> None:
    program("prometheus")
    assert lively.metrics.port is not None
    with prometheus(tmp_path, lively.metrics.port) as url:
        async with asyncio.timeout(60):
            while not (await answer(url, "query", query="changes(argo_mw_calls_total[1m]) > 2"))[
                "result"
            ]:
                await lively.act()
                await asyncio.sleep(0.3)
        empty = [name for name, query in PANELS.items() if not await has_data(url, query)]
        assert [] == empty
        rules = await answer(url, "rules")
        (group,) = rules["groups"]  # type: ignore[misc]
        assert {"ok"} == {rule["health"] for rule in group["rules"]}


async def has_data(url: str, query: str) -> bool:
    return bool((await answer(url, "query", query=query))["result"])
