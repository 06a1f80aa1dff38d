"""``argo-mw cache …`` as people type it, over real stores that other instances have filled."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

import argo_mw_redis.plugin
from argo_mw import Argo, Outcome
from argo_mw.cli import ExitCode
from argo_mw.cli.main import cli
from argo_mw.plugin import context_of, operation
from argo_mw.registry import discovery
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw.testing import FakePlugin, Scripted
from argo_mw_cache import CachePlugin
from argo_mw_cache.stored_answer import PREFIX, AnswerCodec, store_key
from argo_mw_redis.testing import servers

Run = Callable[..., Result]


@operation(subject="symbol")
def bars(symbol: str, *, days: int = 90, full: bool = False) -> object:
    """Price bars."""


@operation(scope="tenant", subject="")
def holdings(book: str = "main") -> object:
    """What is held."""


class Entry:
    def __init__(self, plugin: object) -> None:
        self.load = lambda: plugin


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a real store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shared.db'}"
        return
    with servers(tmp_path) as start:
        yield start().url


@pytest.fixture
def own_store(tmp_path: Path) -> str:
    """The URL of a store for what does not depend on the kind of store."""
    return f"sqlite:///{tmp_path / 'own.db'}"


@pytest.fixture
def upstream() -> Scripted:
    return Scripted("alpaca", ["bars", "holdings"], lambda call: f"{call.operation.name}")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upstream: Scripted
) -> Iterator[Callable[..., Result]]:
    """Run ``argo-mw cache`` with this plugin, the Redis driver and an upstream installed."""
    asked = FakePlugin(operations=[bars, holdings], upstreams=[upstream])
    plugins = {"cache": CachePlugin, "redis": argo_mw_redis.plugin, "market": asked}
    # The command is found by the distribution that the plugin is installed from.
    found = [
        InstalledPlugin(n, Entry(p), f"argo-mw-{n} {version(f'argo-mw-{n}')}")  # type: ignore[arg-type]
        for n, p in plugins.items()
    ]
    monkeypatch.setattr(discovery, "discover", lambda: found)
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    yield lambda *words: CliRunner().invoke(cli, ["cache", *words])
    structlog.reset_defaults()


def configure(store: str, more: str = "") -> None:
    Path("argo.toml").write_text(f'[argo]\nshared = "{store}"\n{more}', "utf-8")


def ask(*subjects: str, then: Callable[[Argo], object] | None = None, **further: object) -> None:
    """Another instance asks, and closes."""

    async def asking() -> None:
        async with Argo.open() as argo:
            for subject in subjects:
                await argo.call("bars", symbol=subject, **further)
            if then is not None:
                await then(argo)  # type: ignore[misc]

    asyncio.run(asking())


def test_get_shows_what_another_instance_has_kept(run: Run, store: str, upstream: Scripted) -> None:
    configure(store)
    ask("AAPL", "MSFT")
    result = run("get", "bars", "AAPL", "MSFT", "--json")
    assert ExitCode.OK == result.exit_code, result.output
    first, second = json.loads(result.stdout)
    assert ("AAPL", "MSFT") == (first["subject"], second["subject"])
    assert ("fresh", "alpaca") == (first["state"], first["upstream"])
    assert 0 <= first["age"] < 60
    assert 0 < first["expires_in"] <= 120
    assert 0 < first["bytes"] < 1_000
    assert {"op:bars", "subject:AAPL"} <= set(first["tags"])
    assert 2 == len(upstream.asked)
    shown = run("get", "bars", "AAPL").stdout
    assert "fresh" in shown
    assert "subject:AAPL" in shown


def test_the_exit_code_of_get_shows_whether_answers_are_missing(
    run: Run, store: str, upstream: Scripted
) -> None:
    configure(store)
    ask("AAPL")
    partly = run("get", "bars", "AAPL", "IBM")
    assert (ExitCode.PARTLY, "nothing is kept for 1 of 2\n") == (partly.exit_code, partly.stderr)
    none = run("get", "bars", "IBM", "--json")
    assert (ExitCode.FAILED, "nothing is kept for 1 of 1\n") == (none.exit_code, none.stderr)
    assert "absent" == json.loads(none.stdout)[0]["state"]
    assert 1 == len(upstream.asked)


def test_get_takes_parameters_as_the_operation_declares_them(run: Run, store: str) -> None:
    configure(store)
    ask("AAPL", days=5)
    assert ExitCode.OK == run("get", "bars", "AAPL", "-p", "days=5").exit_code
    assert ExitCode.FAILED == run("get", "bars", "AAPL").exit_code
    wrong = run("get", "bars", "AAPL", "-p", "days=many")
    assert (ExitCode.FAILED, "argo-mw: bars takes days as int, and 'many' is none\n") == (
        wrong.exit_code,
        wrong.stderr,
    )
    assert ExitCode.USAGE == run("get", "bars", "AAPL", "-p", "days").exit_code


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-p", "full=true"], ExitCode.OK),
        (["-p", "full=false"], ExitCode.FAILED),
        (["-p", "full=true", "-p", "days=90"], ExitCode.OK),
        (["-p", "full=true", "-p", "days=91"], ExitCode.FAILED),
        (["-p", "full=maybe"], ExitCode.FAILED),
        (["-p", "full"], ExitCode.USAGE),
    ],
    ids=str,
)
def test_get_takes_several_parameters_and_truth_values(
    run: Run, own_store: str, words: list[str], code: ExitCode
) -> None:
    configure(own_store)
    ask("AAPL", full=True)
    assert code == run("get", "bars", "AAPL", *words).exit_code


def test_get_shows_a_row_for_each_subject(
    run: Run, own_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    configure(own_store)

    async def spoil(argo: Argo) -> None:
        call = context_of(argo).make_call("bars", "default", {"symbol": "MSFT"})
        await context_of(argo).shared.set(store_key(call), b"nonsense")

    ask("AAPL", "MSFT", then=spoil)
    shown = run("get", "bars", "AAPL", "MSFT", "IBM").stdout.splitlines()
    head, there, spoilt, absent = (line.strip() for line in shown)
    assert "subject state age expires in bytes upstream tags" == " ".join(head.split())
    assert re.fullmatch(
        r"AAPL +fresh +\d+\.\d s +1\d\d\.\d s +\d+ +alpaca +layer:cache, op:bars, subject:AAPL",
        there,
    )
    assert re.fullmatch(r"MSFT +undecodable \w[\w ]+ +8", spoilt)
    assert ["IBM", "absent", "0"] == absent.split()


def test_an_answer_that_speaks_for_no_moment_has_no_age(run: Run, own_store: str) -> None:
    configure(own_store)

    async def undated(argo: Argo) -> None:
        context = context_of(argo)
        call = context.make_call("bars", "default", {"symbol": "AAPL"})
        outcome = Outcome("bars", expires_at=context.clock.time() + 60.0)
        tag_snapshot = await context.tag_versions.load(call.tags)
        key = store_key(call)
        data = AnswerCodec(context).write(outcome, tag_snapshot, 0.0, key)
        await context.shared.set(key, data, ttl=60.0)

    ask(then=undated)
    (row,) = json.loads(run("get", "bars", "AAPL", "--json").stdout)
    assert ("fresh", None) == (row["state"], row["age"])


def test_stats_are_shown_as_a_table(run: Run, own_store: str) -> None:
    configure(own_store)
    nothing = run("stats").stdout.splitlines()
    assert ["answers", "all 0", "of 0 read: none; 0 bytes"] == [
        " ".join(line.split()) for line in nothing
    ]

    async def more(argo: Argo) -> None:
        await argo.call("holdings")
        await argo.expire("subject:AAPL")

    ask("MSFT", "AAPL", then=more)
    lines = [" ".join(line.split()) for line in run("stats").stdout.splitlines()]
    assert ["answers", "bars 2", "holdings 1", "all 3"] == lines[:-1]
    assert re.fullmatch(r"of 3 read: 2 fresh, 1 stale; [1-9]\d\d+ bytes", lines[-1])
    assert "default: 1000" in " ".join(run("stats", "--help").stdout.split())


def test_several_things_are_invalidated_at_once(run: Run, own_store: str) -> None:
    configure(own_store)
    words = ["op:a", "op:b", "--subject", "A", "--subject", "B", "--operation", "c"]
    tags = ["op:a", "op:b", "subject:A", "subject:B", "op:c"]
    found = run("invalidate", *words, "--json")
    assert {"invalidated": tags} == json.loads(found.stdout)
    assert f"invalidated: {', '.join(tags)}\n" == run("invalidate", *words).stderr


def test_get_keeps_tenants_apart(run: Run, store: str) -> None:
    configure(store)

    async def hold(argo: Argo) -> None:
        await argo.options(tenant="acme").call("holdings")

    ask(then=hold)
    assert ExitCode.OK == run("get", "holdings", "--tenant", "acme").exit_code
    assert ExitCode.FAILED == run("get", "holdings").exit_code
    wrong = run("get", "holdings", "AAPL")
    assert (ExitCode.FAILED, 1) == (wrong.exit_code, len(wrong.stderr.splitlines()))


def test_get_of_an_unknown_operation_is_reported_in_one_line(run: Run, store: str) -> None:
    configure(store)
    result = run("get", "bar", "AAPL")
    assert (ExitCode.FAILED, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert "bars" in result.stderr


def test_stats_count_by_operation_and_state(run: Run, store: str) -> None:
    configure(store)

    async def more(argo: Argo) -> None:
        await argo.call("holdings")
        await argo.invalidate("subject:AAPL")
        await argo.expire("subject:MSFT")
        (key, *_) = await context_of(argo).shared.scan(PREFIX + "{holdings")
        await context_of(argo).shared.set(key, b"nonsense")

    ask("AAPL", "MSFT", "IBM", then=more)
    counts = json.loads(run("stats", "--json").stdout)
    states = {"fresh": 1, "stale": 1, "invalidated": 1, "undecodable": 1}
    assert states == counts["states"]
    assert {"bars": 3, "holdings": 1} == counts["operations"]
    assert (4, 4) == (counts["entries"], counts["looked_at"])
    assert 0 < counts["bytes"] < 4_000
    assert 2 == json.loads(run("stats", "--sample", "2", "--json").stdout)["looked_at"]
    shown = run("stats").stdout
    assert "holdings" in shown
    assert "1 invalidated" in shown


def test_an_answer_that_has_expired_is_still_there_for_its_grace(run: Run, store: str) -> None:
    configure(store, "[plugins.cache]\nttl = 0.001\n")
    ask("AAPL")
    result = run("get", "bars", "AAPL", "--json")
    assert ExitCode.OK == result.exit_code
    (row,) = json.loads(result.stdout)
    assert "expired" == row["state"]
    assert -60 < row["expires_in"] < 0


@pytest.mark.parametrize(
    "words", [["subject:AAPL"], ["--subject", "AAPL"], ["--operation", "bars"]], ids=" ".join
)
def test_invalidate_makes_misses_everywhere(
    run: Run, store: str, upstream: Scripted, words: list[str]
) -> None:
    configure(store)
    ask("AAPL")
    result = run("invalidate", *words)
    assert (ExitCode.OK, "") == (result.exit_code, result.stdout)
    assert "invalidated" == json.loads(run("get", "bars", "AAPL", "--json").stdout)[0]["state"]
    ask("AAPL")
    assert 2 == len(upstream.asked)


def test_invalidate_leaves_other_answers_alone(run: Run, store: str) -> None:
    configure(store)
    ask("AAPL", "MSFT")
    counts = json.loads(run("invalidate", "--subject", "AAPL", "--json").stdout)
    assert {"invalidated": ["subject:AAPL"]} == counts
    assert ExitCode.PARTLY == run("get", "bars", "AAPL", "MSFT").exit_code


def test_invalidate_asks_about_a_tag_without_a_kind(run: Run, store: str) -> None:
    configure(store)
    result = run("invalidate", "AAPL")
    assert ExitCode.OK == result.exit_code
    assert "did you mean subject:AAPL?" in result.stderr


def test_invalidate_nothing_is_wrong_usage(run: Run, store: str) -> None:
    configure(store)
    assert ExitCode.USAGE == run("invalidate").exit_code


async def test_invalidate_and_clear_reach_the_memory_of_running_instances(
    run: Run, store: str, upstream: Scripted
) -> None:
    configure(store)
    async with Argo.open() as argo:
        for words, asked in ((["invalidate", "--subject", "AAPL"], 1), (["clear"], 2)):
            await argo.call("bars", symbol="AAPL")
            await argo.call("bars", symbol="AAPL")
            assert asked == len(upstream.asked)
            result = await asyncio.to_thread(run, *words)
            assert ExitCode.OK == result.exit_code, result.output
            async with asyncio.timeout(60):
                while len(upstream.asked) == asked:
                    await argo.call("bars", symbol="AAPL")
                    await asyncio.sleep(0)  # a hit does not yield to other tasks


def test_clear_removes_everything_of_the_cache_and_nothing_else(run: Run, store: str) -> None:
    configure(store)

    async def more(argo: Argo) -> None:
        await context_of(argo).shared.set("another's", b"value")

    ask("AAPL", "MSFT", then=more)
    assert {"removed": 2} == json.loads(run("clear", "--json").stdout)
    assert 0 == json.loads(run("stats", "--json").stdout)["entries"]

    async def still_there(argo: Argo) -> None:
        assert b"value" == await context_of(argo).shared.get("another's")

    ask(then=still_there)
    assert "0 answers removed" in run("clear").stderr


@pytest.mark.parametrize(
    ("shared", "more", "where"),
    [
        ("memory://", "", '(shared = "memory://" in [argo])'),
        ("sqlite", "[plugins.cache]\nshared = false\n", "(shared = false)"),
    ],
)
@pytest.mark.parametrize("words", [["stats"], ["get", "bars", "A"], ["clear"]], ids=" ".join)
def test_commands_explain_that_there_is_no_shared_store(
    run: Run, shared: str, more: str, where: str, words: list[str]
) -> None:
    configure(shared, more)
    result = run(*words)
    assert (ExitCode.FAILED, 1) == (result.exit_code, len(result.stderr.splitlines()))
    assert f"memory of each process only {where}" in result.stderr


@pytest.mark.parametrize(
    "words", [["stats"], ["get", "bars", "A"], ["invalidate", "op:bars"], ["clear"]], ids=" ".join
)
def test_an_unreachable_server_is_reported_in_one_line(run: Run, words: list[str]) -> None:
    configure("redis://127.0.0.1:1/0")
    result = run(*words)
    assert ExitCode.FAILED == result.exit_code
    lines = [line for line in result.stderr.splitlines() if line.startswith("argo-mw: ")]
    assert 1 == len(lines)
    assert "cannot be reached" in lines[0]
