"""``argo-mw doctor`` on a real server: reachable, version, memory, eviction policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from argo_mw.cli import ExitCode
from argo_mw.cli.main import cli
from argo_mw.registry import discovery
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw_redis import plugin
from argo_mw_redis.testing_cluster import cluster


class Entry:
    def load(self):
        return plugin


@pytest.fixture
def doctor(monkeypatch, tmp_path):
    """Run it for the store at a URL; return its exit code and its findings about Redis."""
    found = [InstalledPlugin("redis", Entry(), "argo-mw-redis 1.0")]
    monkeypatch.setattr(discovery, "discover", lambda: found)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def run(url):
        patient = f"{url}?timeout=30"
        Path("argo.toml").write_text(f'[argo]\nshared = "{patient}"\n')
        result = CliRunner().invoke(cli, ["doctor", "--json"])
        findings = json.loads(result.stdout)
        ours = [f for f in findings if f["what"].startswith(("redis", "shared"))]
        by_name = {f["what"]: (f["well"], f["found"]) for f in reversed(ours)}
        refused = [f["found"] for f in ours if f["what"] == "shared store" and not f["well"]]
        return result.exit_code, by_name | ({"refused": refused} if refused else {})

    yield run
    structlog.reset_defaults()


def test_a_server_without_limits_is_reported(start_server, doctor):
    code, found = doctor(start_server("--maxmemory-policy", "noeviction").url)
    assert ExitCode.FAILED == code
    assert (True, "version 8.") == (found["redis"][0], found["redis"][1][:10])
    assert not found["redis memory"][0]
    assert "set maxmemory" in found["redis memory"][1]
    assert (True, "noeviction") == (found["redis eviction"][0], found["redis eviction"][1][:10])


def test_a_server_with_limits_passes(start_server, doctor):
    server = start_server("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")
    code, found = doctor(server.url)
    assert ExitCode.OK == code
    assert all(well for well, _ in found.values())
    assert "of 100.00M used" in found["redis memory"][1]
    assert "volatile-lru: a counter that is evicted forgets" in found["redis eviction"][1]
    assert "set noeviction where quotas guard money" in found["redis eviction"][1]


def test_an_unreachable_server_is_reported_without_its_password(server, doctor):
    server.kill()
    code, found = doctor(f"redis://:s3cret@127.0.0.1:{server.port}/0")
    assert ExitCode.FAILED == code
    assert not found["redis"][0]
    assert "cannot be reached" in found["redis"][1]
    assert not found["shared store"][0]
    assert "s3cret" not in str(found)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("+@all ~*", ["no messages arrive", "no messages are sent"]),
        ("+@all ~* &* -publish", ["no messages are sent"]),
        ("+@all ~* &* -@scripting", ["no leases are granted", "nothing is counted"]),
        ("+@all ~* &* -@write", ["until it takes writes again"]),
    ],
)
def test_what_its_user_is_refused_is_reported_with_a_remedy(start_server, doctor, rules, said):
    server = start_server("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")
    server.allow("app", rules)
    code, found = doctor(server.url_of("app"))
    assert ExitCode.FAILED == code
    what = " ".join(found["refused"])
    for words in said:
        assert words in what
    assert "ACL SETUSER" in what


def test_each_node_of_a_cluster_is_reported(nodes, doctor):
    code, found = doctor(nodes.url)
    assert ExitCode.FAILED == code
    assert (True, "3 masters, each with a replica") == found["redis cluster"]
    for node in nodes.masters:
        where = f"127.0.0.1:{node.server.port}"
        assert (True, "version 8.") == (
            found[f"redis of {where}"][0],
            found[f"redis of {where}"][1][:10],
        )
        assert "set maxmemory" in found[f"redis memory of {where}"][1]


def test_a_user_of_a_cluster_that_may_not_ask_for_its_slots_is_told_the_rights(nodes, doctor):
    nodes.allow("app", "~* &* +@all -cluster")
    code, found = doctor(nodes.url_of("app"))
    assert ExitCode.FAILED == code
    assert "+cluster|info +cluster|slots +asking" in found["redis"][1]


def test_a_single_server_whose_url_names_a_cluster_is_explained(server, doctor):
    code, found = doctor(server.url.replace("redis://", "redis+cluster://").removesuffix("/0"))
    assert ExitCode.FAILED == code
    assert "it is not a node of a cluster: begin the URL with redis://" in found["redis"][1]


def test_a_cluster_whose_url_names_a_single_server_is_explained(nodes, doctor):
    code, found = doctor(nodes.masters[0].server.url)
    assert ExitCode.FAILED == code
    assert "begin the URL with redis+cluster://" in str(found)


def test_a_cluster_without_a_replica_is_reported(tmp_path, doctor):
    with cluster(tmp_path / "nodes", replicas=0) as nodes:
        _, found = doctor(nodes.url)
    assert not found["redis cluster"][0]
    assert "3 of them without a replica" in found["redis cluster"][1]


def test_a_user_that_may_not_read_info_passes(start_server, doctor):
    server = start_server()
    server.allow("app", "+@all ~* &* -info")
    code, found = doctor(server.url_of("app"))
    assert ExitCode.OK == code
    assert "may not" in found["redis"][1] or "refused INFO" in found["redis"][1]
