"""``argo-mw flags list``: the flags of an application, known without opening one."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from argo_mw.cli.flag_listing import FlagListing, declared_flags, opened_flags
from argo_mw.config import Settings, load, parse

ROOT = Path(__file__).parents[2]
CPU_SECONDS = 0.35
"""What a listing may take on a machine with nothing else to do."""
MARGIN = 1.7
"""How much longer work takes on one that shares its caches with others."""
HEAVY = {
    "anthropic",
    "asyncio",
    "exchange_calendars",
    "httpx2",
    "numpy",
    "openai",
    "pandas",
    "pluggy",
    "redis",
    "structlog",
}

TABLES: dict[str, str] = {
    "no table": "",
    "blocked": '[argo]\nblock = ["llm", "race"]\n[flags]\nrace = "off"',
    "flags": '[flags]\nrace = "10% by tenant"\ncache = "off"\n"upstream.glm" = {killed = true}',
    "providers": """
        [plugins.llm.claude]
        model = "claude-haiku-4-5"
        [plugins.llm.providers.qwen]
        embedding_model = ""
        [plugins.llm.providers.deepseek]
        embedding_model = "some-embeddings"
        [plugins.llm.providers.local]
        wire = "chat"
        url = "http://127.0.0.1:8000/v1"
        model = "small"
        embedding_model = "small-embeddings"
        key_from = []
        [plugins.llm.providers.inside]
        wire = "anthropic"
        url = "https://models.example.com"
        model = "large"
        embedding_model = "unused"
        """,
    "routes": """
        [[plugins.http.routes]]
        host = "api.example.com:8080"
        path = "/v2/{symbol}"
        [[plugins.http.routes]]
        host = "api.example.com:8080"
        path = "/v3/{symbol}"
        [[plugins.http.routes]]
        host = "news.example.com"
        path = "/news"
        api = "press"
        """,
    "judge": '[plugins.similarity]\njudge_model = "claude-haiku-4-5"',
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that installs the plugins as their projects here say, before what is installed."""
    folder = tmp_path / "site"
    for project in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        table = tomllib.loads(project.read_text("utf-8"))["project"]
        info = folder / f"{table['name'].replace('-', '_')}-0.1.0.dist-info"
        info.mkdir(parents=True)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: 0.1.0\n"
        )
        lines = [
            line
            for group, entries in table["entry-points"].items()
            for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
        ]
        info.joinpath("entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return folder


def declared(settings: Settings) -> FlagListing:
    found = declared_flags(settings)
    assert found is not None
    return found


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_plugins_declare_are_the_flags_of_an_application(tree: Path, table: str) -> None:
    settings = parse(tomllib.loads(table))
    found = declared(settings)
    assert asyncio.run(opened_flags(settings)) == found


def test_what_is_set_by_command_and_by_the_environment_is_listed(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = parse({"flags": {"race": "off"}})
    run("flags", "set", "race", "25%")
    run("flags", "kill", "cache")
    monkeypatch.setenv("ARGO_MW_FLAG_SIMILARITY", "off")
    rows = {one.name: one for one in declared(settings).rows}
    assert ("25% by subject", "overlay", {"argo.toml": "off"}) == (
        rows["race"].rule,
        rows["race"].source,
        rows["race"].besides,
    )
    assert ("killed", "overlay") == (rows["cache"].rule, rows["cache"].source)
    assert ("off", "ARGO_MW_FLAG_SIMILARITY") == (
        rows["similarity"].rule,
        rows["similarity"].source,
    )
    assert asyncio.run(opened_flags(settings)) == declared(settings)


@pytest.mark.parametrize(
    "table",
    [
        {"argo": {"block": ["no_such_plugin"]}},
        {"argo": {"required": ["no_such_plugin"]}},
        {"argo": {"required": ["race"], "block": ["race"]}},
        {"plugins": {"no_such_plugin": {}}},
        {"plugins": {"http": {"routes": [{"path": "/without/a/host"}]}}},
        {"flags": {"no_such_flag": "on"}},
        {"flags": {"race": "shadow"}},
        {"argo": {"shared": "redis://127.0.0.1:1"}},
    ],
    ids=str,
)
def test_what_takes_an_application_to_judge_is_left_to_one(
    tree: Path, table: dict[str, object]
) -> None:
    assert declared_flags(parse(table)) is None


def test_a_plugin_that_declares_no_flags_is_asked_for_them(tree: Path) -> None:
    info = tree / "argo_mw_someone-0.1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: someone\nVersion: 0.1.0\n")
    info.joinpath("entry_points.txt").write_text("[argo_mw]\nsomeone = someone_s.plugin")
    assert declared_flags(Settings()) is None
    assert declared_flags(parse({"argo": {"block": ["someone"]}})) is not None


def test_what_is_set_for_the_fleet_is_listed(tree: Path) -> None:
    run("flags", "set", "race", "25%", "--fleet")
    [race] = [one for one in listed() if one["flag"] == "race"]
    assert {"flag": "race", "rule": "25% by subject", "set by": "fleet", "besides": {}} == race


def test_flags_of_the_fleet_are_found_in_the_store_alone(tree: Path) -> None:
    run("flags", "set", "race", "25%", "--fleet")
    for remembered in Path(os.environ["ARGO_MW_STATE_DIR"]).glob("fleet-flags-*"):
        remembered.unlink()
    assert declared_flags(load()) is None


def test_listing_flags_imports_no_plugin_and_no_application(tree: Path) -> None:
    code = (
        "import sys; from argo_mw.cli.main import cli; "
        "cli(['flags', 'list'], standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    )
    imported = set(run_python("-c", code).stderr.split())
    assert "argo_mw.cli.flags" in imported
    assert set() == HEAVY & imported
    assert set() == {one for one in imported if one.startswith("argo_mw_")}
    assert "argo_mw.app.application" not in imported


@pytest.mark.skipif(sys.platform == "win32", reason="a process has no rusage there")
def test_listing_flags_takes_little_cpu(tree: Path) -> None:
    run("flags", "list")  # what is compiled is compiled now
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run("flags", "list")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < CPU_SECONDS * MARGIN


def listed() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run("flags", "list", "--json").stdout)
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_python("-c", "from argo_mw.cli.main import main; main()", *arguments)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done
