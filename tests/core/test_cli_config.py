"""``argo-mw config``: what is wrong is said without a server, and editors get a schema."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import structlog
from attrs import field, frozen, validators
from click.testing import CliRunner, Result
from jsonschema import Draft7Validator

from argo_mw import Secret
from argo_mw.cli import ExitCode
from argo_mw.cli.main import cli
from argo_mw.config.schema import schema_of
from argo_mw.plugin import Duration, Layer, hookimpl, operation
from argo_mw.registry import discovery
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw.testing import FakePlugin, Scripted


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


async def pass_on(call, call_next):
    return await call_next(call)


@frozen
class Limit:
    """One limit.

    Attributes:
        usd: Dollars.
    """

    usd: float = field(default=1.0, validator=[validators.ge(0), validators.le(9)])


@frozen
class MarketConfig:
    """The table ``[plugins.market]``.

    Attributes:
        key: The key, from ``${KEY}``.
        every: How often.
        days: Days, at least one.
        limits: Limits, by name.
        names: Symbols.
    """

    key: Secret | None = None
    every: Duration = 60.0
    days: int = field(default=3, validator=validators.gt(0))
    limits: Mapping[str, Limit] = field(factory=dict)
    names: tuple[str, ...] = ()


class Market(FakePlugin):
    started = False

    @hookimpl
    def register_config(self) -> type:
        return MarketConfig

    @hookimpl
    async def startup(self) -> None:
        type(self).started = True


class Broken:
    @hookimpl
    def register_layers(self) -> list[Layer]:
        msg = "no disk"
        raise OSError(msg)


class Entry:
    def __init__(self, plugin: object) -> None:
        self.load = lambda: plugin


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run ``argo-mw`` on a configuration, with two plugins installed and any others given."""
    monkeypatch.chdir(tmp_path)

    def run_(*arguments: str, config: str = "", **more: object) -> Result:
        plugins = {
            "cache": FakePlugin(layer=Layer("cache", pass_on, slot="cache")),
            "market": Market(operations=[bars], upstreams=[Scripted("alpaca", ["bars"])]),
            **more,
        }
        found = [InstalledPlugin(n, Entry(p), f"argo-mw-{n} 1.0") for n, p in plugins.items()]  # type: ignore[arg-type]
        monkeypatch.setattr(discovery, "discover", lambda: found)
        (tmp_path / "argo.toml").write_text('[argo]\nshared = "memory://"\n' + config)
        return CliRunner().invoke(cli, ["config", *arguments])

    yield run_
    structlog.reset_defaults()


def test_a_good_configuration_shows_what_it_comes_to_and_starts_nothing(run: Run) -> None:
    done = run("check", config='[flags]\ncache = "10%"\n')
    assert ExitCode.OK == done.exit_code, done.output
    assert "argo.toml: well" in done.stdout
    assert "chain: caller → cache → upstream" in done.stdout
    assert "operations: bars" in done.stdout
    assert "upstreams: alpaca" in done.stdout
    assert "flag cache: 10% by subject" in done.stdout
    assert not Market.started


def test_the_same_as_json(run: Run) -> None:
    found = json.loads(run("check", "--json").stdout)
    assert (True, ["cache"], ["alpaca"]) == (found["well"], found["chain"], found["upstreams"])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("tenent = 1\n", "unknown key 'argo.tenent': did you mean 'tenant'"),
        ("[plugins.market]\ndays = 0\n", "'days' must be > 0"),
        ("[plugins.markt]\n", "names plugin 'markt', which is not installed"),
        ("[flags]\ncahce = 'on'\n", "flag 'cahce', which does not exist"),
        ("[operations.bar]\ntimeout = 1.0\n", "names operation 'bar', which does not exist"),
        ("[upstreams.alpaka]\n", "names upstream 'alpaka', which does not exist"),
        ("[plugins.market]\nkey = '${NO_SUCH_VARIABLE}'\n", "NO_SUCH_VARIABLE"),
        ("[argo\n", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_one_line(run: Run, config: str, said: str) -> None:
    done = run("check", config=config)
    assert ExitCode.FAILED == done.exit_code
    assert said in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert "" == done.stdout


def test_a_plugin_that_would_be_left_out_is_a_failure(run: Run) -> None:
    done = run("check", broken=Broken())
    assert ExitCode.FAILED == done.exit_code
    assert "left out: broken at register_layers: OSError: no disk" in done.stderr


def test_the_schema_has_the_tables_of_the_core_and_of_plugins(run: Run) -> None:
    schema = json.loads(run("schema").stdout)
    tables = schema["properties"]
    assert {"argo", "flags", "operations", "upstreams", "plugins"} == set(tables)
    assert "tenant" in tables["argo"]["properties"]
    assert {"cache", "market"} == set(tables["plugins"]["properties"])


def test_the_schema_says_of_each_key_what_it_takes() -> None:
    table = schema_of({"market": MarketConfig})["properties"]["plugins"]["properties"]["market"]
    assert "The table [plugins.market]." == table["description"]
    keys = table["properties"]
    assert {"description": "The key, from ${KEY}.", "type": "string"} == keys["key"]
    assert {"type": "number", "minimum": 0} in keys["every"]["anyOf"]
    assert {"type": "integer", "exclusiveMinimum": 0} in keys["days"]["anyOf"]
    assert 3 == keys["days"]["default"]
    assert {"type": "array", "items": {"type": "string"}} == {
        name: keys["names"][name] for name in ("type", "items")
    }
    usd = keys["limits"]["additionalProperties"]["properties"]["usd"]["anyOf"]
    assert {"type": "number", "minimum": 0, "maximum": 9} in usd


def test_the_schema_takes_what_the_program_takes_and_refuses_what_it_refuses() -> None:
    check = Draft7Validator(schema_of({"market": MarketConfig, "plain": None}))
    good = """
        [argo]
        tenant = "desk"
        [flags]
        cache = "10% by tenant"
        race = {percent = 5, by = "subject"}
        [operations.bars]
        ttl = "2m"
        upstreams = ["alpaca"]
        [plugins.market]
        days = "${DAYS}"
        every = "1h"
        limits.day.usd = 3
    """
    assert [] == list(check.iter_errors(tomllib.loads(good)))
    for bad in (
        "[argo]\ntenent = 'x'",
        "[plugins.market]\ndays = 0",
        "[plugins.market]\ndays = 'three'",
        "[plugins.other]",
        "[flags]\ncache = 'perhaps'",
    ):
        assert [] != list(check.iter_errors(tomllib.loads(bad))), bad
