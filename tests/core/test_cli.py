"""The command line: one line for each error, exit codes that hold, no traceback."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import nullcontext
from pathlib import Path

import click
import pytest
import structlog
from click.testing import CliRunner, Result

from argo_mw import Argo, Outcome, UpstreamError
from argo_mw.base import private_file
from argo_mw.cli import ExitCode, with_argo
from argo_mw.cli.main import cli
from argo_mw.flags.overlay import Overlay
from argo_mw.plugin import Call, Layer, Limits, Log, Probe, Upstream, hookimpl, operation
from argo_mw.registry import discovery
from argo_mw.registry.discovery import InstalledPlugin
from argo_mw.testing import FakePlugin, Scripted


@operation(subject="symbol")
def bars(symbol: str, *, days: int = 90) -> object:
    """Price bars."""


class Explaining:
    async def __call__(self, call, call_next):
        return await call_next(call)

    def explain(self, call) -> str:
        return f"would look {call.subject} up"


class Greeting:
    """A plugin with a command of its own."""

    @hookimpl
    def register_commands(self, cli) -> None:
        @cli.command()
        @with_argo
        async def greet(argo: Argo) -> None:
            """Say what AAPL is."""
            print(await argo.call("bars", symbol="AAPL"))


class FakeEntry:
    def __init__(self, plugin: object) -> None:
        self.load = lambda: plugin


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run ``argo-mw`` with a few plugins installed, in an empty directory."""
    plugins = {
        "cache": FakePlugin(layer=Layer("cache", Explaining(), slot="cache")),
        "greeting": Greeting(),
        "market": FakePlugin(operations=[bars], upstreams=[Scripted("alpaca", ["bars"])]),
    }
    found = [InstalledPlugin(n, FakeEntry(p), f"argo-mw-{n} 1.0") for n, p in plugins.items()]  # type: ignore[arg-type]
    monkeypatch.setattr(discovery, "discover", lambda: found)
    monkeypatch.setattr(cli, "commands", dict(cli.commands))  # what plugins add goes with the test
    monkeypatch.chdir(tmp_path)
    (tmp_path / "argo.toml").write_text('[argo]\nshared = "memory://"\n')

    def run_(*arguments: str, answers: str = "") -> Result:
        return CliRunner().invoke(cli, arguments, input=answers)

    yield run_
    structlog.reset_defaults()


class Brings:
    """A plugin with a command, and a group with another one."""

    def __init__(self, name: str, says: str) -> None:
        self._name = name
        self._says = says

    @hookimpl
    def register_commands(self, cli) -> None:
        cli.add_command(click.Command(self._name, callback=lambda: print(self._says)))


@pytest.fixture
def install(run, monkeypatch: pytest.MonkeyPatch):
    """Install further plugins beside those of ``run``."""

    def install_(**plugins: object) -> None:
        more = [
            InstalledPlugin(name, FakeEntry(one), f"argo-mw-{name} 1.0")  # type: ignore[arg-type]
            for name, one in plugins.items()
        ]
        found = sorted([*discovery.discover(), *more], key=lambda one: one.name)
        monkeypatch.setattr(discovery, "discover", lambda: found)

    return install_


@pytest.mark.parametrize("name", ["doctor", "costs", "flags"])
def test_no_plugin_takes_the_name_of_a_command_of_the_core(run, install, name: str) -> None:
    install(aaa=Brings(name, "taken"))
    for arguments in (("--help",), ("greet",), (name, "--help")):
        result = run(*arguments)
        assert "taken" not in result.stdout
    assert f"the command {name!r} of plugin 'aaa' is not used" in run("--help").stderr


def test_a_command_that_two_plugins_bring_is_neither_s(run, install) -> None:
    install(aaa=Brings("greet", "taken"), zzz=Brings("greet", "taken too"))
    result = run("greet")
    assert ExitCode.USAGE == result.exit_code
    assert "taken" not in result.stdout
    assert "that of both 'aaa' and 'greeting'" in result.stderr


def test_plugins_prints_the_chain_and_where_each_part_is_from(run) -> None:
    result = run("plugins")
    assert result.exit_code == ExitCode.OK
    assert "caller → cache → upstream" in result.stdout
    assert "argo-mw-market 1.0" in result.stdout
    told = json.loads(run("plugins", "--json").stdout)
    assert told["chain"] == ["cache"]
    assert [p["plugin"] for p in told["plugins"]] == ["cache", "greeting", "market"]


def test_a_plugin_left_out_is_told(run, monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenPlugin:
        @hookimpl
        def register_layr(self) -> None: ...

    broken = InstalledPlugin("broken", FakeEntry(BrokenPlugin()), "argo-mw-broken 1.0")  # type: ignore[arg-type]
    rest = discovery.discover()
    monkeypatch.setattr(discovery, "discover", lambda: [*rest, broken])
    result = run("plugins")
    assert result.exit_code == ExitCode.OK
    assert "left out: broken at hooks: it implements hook 'register_layr'" in result.stderr


def test_explain_tells_what_would_happen(run) -> None:
    result = run("explain", "bars", "AAPL")
    assert result.exit_code == ExitCode.OK
    assert "would look AAPL up" in " ".join(result.stdout.split())
    told = json.loads(run("explain", "bars", "AAPL", "--json").stdout)
    assert [one["name"] for one in told] == ["cache", "upstream.alpaca"]


def test_a_plugin_s_command_gets_an_open_application(run) -> None:
    result = run("greet")
    assert (result.exit_code, result.stdout) == (ExitCode.OK, "AAPL\n")


def test_flags_are_listed_set_killed_revived_and_unset(run) -> None:
    def rule(name: str) -> str:
        listed = json.loads(run("flags", "list", "--json").stdout)
        return next(f["rule"] for f in listed if f["flag"] == name)

    assert run("flags", "set", "cache", "10%").exit_code == ExitCode.OK
    assert rule("cache") == "10% by subject"
    assert "cache: killed" in run("flags", "kill", "cache").stderr
    assert run("flags", "set", "cache", "on").exit_code == ExitCode.OK
    assert rule("cache") == "killed"
    run("flags", "revive", "cache")
    assert rule("cache") == "on"
    run("flags", "unset", "cache")
    assert "overlay" not in run("flags", "list").stdout
    assert run("flags", "revive", "cache").exit_code == ExitCode.OK


def test_a_rule_that_no_chain_can_be_built_with_is_refused_and_not_kept(run) -> None:
    """It would keep every program of the machine from opening, this command included."""
    run("flags", "set", "upstream.alpaca", "10%")
    refused = run("flags", "set", "upstream.alpaca", "shadow")
    assert refused.exit_code == ExitCode.FAILED
    assert "'upstream.alpaca' cannot shadow" in refused.stderr
    listed = json.loads(run("flags", "list", "--json").stdout)
    assert ["10% by subject"] == [f["rule"] for f in listed if f["flag"] == "upstream.alpaca"]


def test_a_flag_is_rolled_back_and_revived(run) -> None:
    def rules() -> dict[str, str]:
        listed = json.loads(run("flags", "list", "--json").stdout)
        return {f["flag"]: f"{f['rule']} by {f['set by']}" for f in listed}

    before = rules()["cache"]
    said = run("flags", "roll-back", "cache", "p99 doubled").stderr
    assert "cache: rolled back: p99 doubled (set by overlay)" in said
    run("flags", "set", "cache", "10%")
    assert "rolled back: p99 doubled by overlay" == rules()["cache"]
    run("flags", "revive", "cache")
    assert "10% by subject by overlay" == rules()["cache"]
    run("flags", "unset", "cache")
    run("flags", "kill", "cache")
    run("flags", "revive", "cache")
    assert before == rules()["cache"], "what argo.toml says holds again, also when it changes"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["explain", "brs", "AAPL"], 1, "those that do): did you mean 'bars'"),
        (["explain", "bars"], 1, "bars needs symbol"),
        (["explain", "bars", "AAPL", "-p", "dys=3"], 1, "no parameter 'dys': did you mean 'days'"),
        (["explain", "bars", "AAPL", "-p", "days"], 2, "'days' is not of the form NAME=VALUE"),
        (
            ["flags", "set", "cach", "on"],
            1,
            "flag 'cach', which does not exist: did you mean 'cache'",
        ),
        (["flags", "roll-back", "cach", "slow"], 1, "did you mean 'cache'"),
        (["flags", "kill", "cach"], 1, "did you mean 'cache'"),
        (["flags", "set", "cache", "maybe"], 1, "cannot be set to 'maybe'"),
        (["-c", "nope.toml", "plugins"], 1, "there is no configuration file at nope.toml"),
        (["nope"], 2, "No such command 'nope'"),
    ],
)
def test_every_error_is_one_line_that_says_what_to_do(
    run, arguments: list[str], code: int, message: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
    if code == ExitCode.FAILED:
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_wrong_configuration_key_is_named(run, tmp_path: Path) -> None:
    (tmp_path / "argo.toml").write_text("[argo]\ntenat = 'x'")
    for arguments in (["plugins"], ["greet"], ["--help"]):
        result = run(*arguments)
        assert "unknown key 'argo.tenat': did you mean 'tenant'" in result.stderr
        assert result.exit_code == (ExitCode.OK if arguments == ["--help"] else ExitCode.FAILED)


def test_help_lists_the_commands_of_plugins_too(run) -> None:
    result = run("--help")
    assert result.exit_code == ExitCode.OK
    assert all(name in result.stdout for name in ("greet", "plugins", "explain", "flags"))


def test_the_doctor_finds_what_is_well_and_what_is_not(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("doctor")
    assert result.exit_code == ExitCode.OK
    assert "memory answered in" in result.stdout

    class Sick:
        @hookimpl
        async def diagnose(self) -> list[tuple[str, bool, str]]:
            return [("server", False, "cannot be reached: start it")]

    class Raising:
        @hookimpl
        async def diagnose(self) -> list[tuple[str, bool, str]]:
            raise ValueError("cannot look")

    more = {"sick": Sick(), "raising": Raising(), "broken": object.__new__(type("B", (), {}))}
    found = [InstalledPlugin(n, FakeEntry(p), f"argo-mw-{n} 1.0") for n, p in more.items()]  # type: ignore[arg-type]

    def fail() -> None:
        raise ImportError("no module")

    found[-1].entry_point.load = fail  # type: ignore[method-assign]
    rest = discovery.discover()
    monkeypatch.setattr(discovery, "discover", lambda: [*rest, *found])
    result = run("doctor", "--json")
    assert result.exit_code == ExitCode.FAILED
    bad = [(f["where"], f["found"]) for f in json.loads(result.stdout) if not f["well"]]
    assert bad[0][0] == "broken"
    assert "ImportError: no module; fix it, upgrade it, or name it under block" in bad[0][1]
    assert bad[1:] == [
        ("raising", "ValueError: cannot look"),
        ("sick", "cannot be reached: start it"),
    ]


def test_live_questions_are_asked_once_their_cost_is_agreed_to(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def upstream(name: str, answer: object, **changes: object) -> Upstream:
        async def fetch(call: Call) -> Outcome:
            asked.append(call.subject)
            if isinstance(answer, Exception):
                raise answer
            return Outcome(answer)

        probe = Probe(
            "bars",
            {"symbol": name, "days": 1},
            lambda: 0.002,
            lambda: nullcontext(lambda outcome: [] if outcome.value == 1 else ["it is not 1"]),
        )
        return Upstream(name, {"bars"}, fetch, limits=Limits(per_day=25), probe=probe, **changes)  # type: ignore[arg-type]

    live = FakePlugin(
        upstreams=[
            upstream("good", 1),
            upstream("odd", 2),
            upstream("down", UpstreamError("it is down", upstream="down"), retries=0),
            upstream("without", 1, unsupported=lambda _: "has no key"),
        ]
    )
    found = [*discovery.discover(), InstalledPlugin("live", FakeEntry(live), "argo-mw-live 1.0")]  # type: ignore[arg-type]
    monkeypatch.setattr(discovery, "discover", lambda: found)

    def findings(result: Result) -> dict[str, tuple[bool, str]]:
        rows = json.loads(result.stdout)
        return {f["where"]: (f["well"], f["found"]) for f in rows if f["what"] == "live"}

    run("doctor")
    declined = run("doctor", "--live", "--json", answers="n\n")
    assert [] == asked
    cost = "good: bars symbol='good' days=1: 1 request of 25 a day, at most 0.002000 USD"
    assert cost in declined.stderr
    assert (True, "nothing was asked") == findings(declined)["core"]
    for more, answers in ((["--yes"], ""), ([], "y\n")):
        result = run("doctor", "--live", "--json", *more, answers=answers)
        assert ["down", "good", "odd"] == sorted(asked)
        asked.clear()
        assert cost in result.stderr
        assert ExitCode.FAILED == result.exit_code
        told = findings(result)
        well = {"good": True, "odd": False, "down": False, "without": True, "alpaca": True}
        assert well == {name: one for name, (one, _) in told.items()}
        assert told["odd"][1].endswith("not as expected: it is not 1")
        assert "it is down" in told["down"][1]
        assert "not asked: it has no key" == told["without"][1]


def test_the_doctor_tells_that_the_store_is_unreachable(run, tmp_path: Path) -> None:
    (tmp_path / "argo.toml").write_text('[argo]\nshared = "unreachable://"\n')
    result = run("doctor")
    assert result.exit_code == ExitCode.FAILED
    assert "unreachable cannot be reached" in " ".join(result.stdout.split())


# -- What is switched off ------------------------------------------------------------------------


def test_blocked_plugins_and_flags_that_are_held_off_are_shown(run, tmp_path: Path) -> None:
    (tmp_path / "argo.toml").write_text('[argo]\nshared = "memory://"\nblock = ["greeting"]\n')
    run("flags", "kill", "upstream.alpaca")
    run("flags", "roll-back", "cache", "it was slow")
    shown = run("plugins").stdout
    assert "blocked in [argo]: greeting" in shown
    assert "held off: cache, rolled back: it was slow" in shown
    assert "held off: upstream.alpaca, killed" in shown
    found = json.loads(run("plugins", "--json").stdout)
    assert ["greeting"] == found["blocked"]
    assert {"cache": "rolled back: it was slow", "upstream.alpaca": "killed"} == found["held_off"]
    result = run("doctor", "--json")
    findings = {(one["where"], one["what"]): one for one in json.loads(result.stdout)}
    blocked = findings["greeting", "plugin"]
    assert (True, "blocked in [argo]: nothing of it is in use") == (
        blocked["well"],
        blocked["found"],
    )
    killed = findings["upstream.alpaca", "flag"]
    assert killed["well"]
    assert "killed (set by overlay); `argo-mw flags revive upstream.alpaca`" in killed["found"]


def test_a_flag_of_a_blocked_plugin_cannot_be_set_and_the_reason_is_given(
    run, tmp_path: Path
) -> None:
    (tmp_path / "argo.toml").write_text('[argo]\nshared = "memory://"\nblock = ["cache"]\n')
    result = run("flags", "kill", "cache")
    assert ExitCode.FAILED == result.exit_code
    assert "plugin 'cache' is not in use; see block in [argo]" in result.stderr


class Refusing:
    """A plugin that keeps an application from opening."""

    @hookimpl
    async def startup(self) -> None:
        raise OSError("no room")


UNUSABLE = {
    "a variable that is not set": '[flags]\ncache = "${NOT_SET_HERE}"\n',
    "a key that does not exist": "[operations.bars]\nnothing = 1\n",
    "a plugin that is not installed": "[plugins.nothing]\nkey = 1\n",
    "a flag that does not exist": '[flags]\nnothing = "on"\n',
    "a store without a driver": '[argo]\nshared = "nothing://"\n',
    "a plugin that does not start": "[argo]\nstrict = true\n",
    "no TOML": "[argo",
}


@pytest.mark.parametrize("hold", [["kill", "cache"], ["roll-back", "cache", "slow"]])
@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
def test_a_flag_is_held_off_though_no_application_can_be_opened_here(
    run, tmp_path: Path, text: str, hold: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = [
        InstalledPlugin("refusing", FakeEntry(Refusing()), "one 1.0"),
        *discovery.discover(),
    ]  # type: ignore[arg-type]
    monkeypatch.setattr(discovery, "discover", lambda: refusing)
    (tmp_path / "argo.toml").write_text(text)
    result = run("flags", *hold)
    assert ExitCode.PARTLY == result.exit_code
    assert "running programs take it up" in result.stderr
    rule = Overlay(Path(os.environ["ARGO_MW_STATE_DIR"])).read()["cache"]
    assert rule.killed or "slow" == rule.rolled_back


def test_a_flag_is_killed_before_anything_is_opened(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that hangs at its start is what may have to be killed."""
    seen: list[object] = []

    class Starting:
        @hookimpl
        async def startup(self, context) -> None:
            seen.append(Overlay(context.state_dir).read()["cache"].killed)

    starting = [
        InstalledPlugin("starting", FakeEntry(Starting()), "one 1.0"),
        *discovery.discover(),
    ]  # type: ignore[arg-type]
    monkeypatch.setattr(discovery, "discover", lambda: starting)
    assert ExitCode.OK == run("flags", "kill", "cache").exit_code
    assert [True] == seen


def test_where_the_state_directory_cannot_be_known_the_remedy_is_given(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.delenv("ARGO_MW_STATE_DIR")
    for text in ("[argo", '[argo]\nstate_dir = "${NOT_SET_HERE}"\n'):
        (tmp_path / "argo.toml").write_text(text)
        result = run("flags", "kill", "cache")
        assert ExitCode.FAILED == result.exit_code
        assert "name it in ARGO_MW_STATE_DIR" in result.stderr
    (tmp_path / "argo.toml").write_text(f'[argo]\nstate_dir = "{state}"\nnothing = 1\n')
    assert ExitCode.PARTLY == run("flags", "kill", "cache").exit_code
    assert Overlay(state).read()["cache"].killed


def test_a_flag_that_does_not_exist_is_not_left_killed(run) -> None:
    assert ExitCode.FAILED == run("flags", "kill", "cahce").exit_code
    assert {} == Overlay(Path(os.environ["ARGO_MW_STATE_DIR"])).read()


@pytest.mark.parametrize("hold", [["kill", "cache"], ["roll-back", "cache", "slow"]])
def test_what_the_file_says_when_a_flag_is_revived_holds_then(
    run, tmp_path: Path, hold: list[str]
) -> None:
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\n[flags]\ncache = "50%"\n')
    run("flags", *hold)
    file.write_text('[argo]\nshared = "memory://"\n[flags]\ncache = "off"\n')
    assert "cache: off (set by argo.toml)" in run("flags", "revive", "cache").stderr


def test_a_program_that_holds_the_flags_is_named(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_file, "PATIENCE", 0.0)
    lock = Path(os.environ["ARGO_MW_STATE_DIR"], "flags.lock")
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = run("flags", "kill", "cache")
    assert ExitCode.FAILED == result.exit_code
    assert f"`fuser {lock}` names it" in result.stderr


@pytest.mark.parametrize(("form", "as_json"), [("json", True), ("auto", True), ("text", False)])
def test_the_log_of_commands_is_text_or_json(run, form: str, as_json: bool) -> None:
    @cli.command()
    def warns() -> None:
        Log("argo_mw").warning("it broke", where="here")

    logged = run("--log", form, "warns").stderr
    assert "it broke" in logged
    assert as_json is logged.startswith("{")
    if as_json:
        assert "here" == json.loads(logged)["where"]
