"""What people do to ramps, and what they are told: commands, exit codes, the webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from argo_mw import Argo, ConfigError
from argo_mw.cli.main import cli
from argo_mw.plugin import Layer, SecretUrl, context_of, plugin_of
from argo_mw.testing import FakePlugin
from argo_mw_rollout import RolloutPlugin, judging
from argo_mw_rollout.commands import exit_code
from argo_mw_rollout.ramp import Ramp
from argo_mw_rollout.ramp_commands import RampCommands
from argo_mw_rollout.ramps import Ramps
from argo_mw_rollout.webhook import Webhook

from .conftest import World


async def untouched(call, call_next):
    return await call_next(call)


def open_argo(tmp_path: Path, flag: str = "on", **rollout: object) -> Argo:
    return Argo.open(
        {
            "argo": {"state_dir": str(tmp_path), "watch": False},
            "flags": {"bold": flag},
            "plugins": {"rollout": {"every": 3600.0, **rollout}},
        },
        plugins={
            "rollout": RolloutPlugin(),
            "bold": FakePlugin(layer=Layer("bold", untouched, before=("coalesce",))),
        },
        installed=False,
    )


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARGO_MW_STATE_DIR", raising=False)
    monkeypatch.delenv("ARGO_MW_CONFIG", raising=False)


async def look(argo: Argo) -> Ramp:
    """Let the judge look once, and return the ramp."""
    controller = plugin_of(argo, RolloutPlugin).controller
    assert controller is not None
    await controller.look()
    found = (await Ramps(context_of(argo)).read("bold")).ramp
    assert found is not None
    return found


def state_of(argo: Argo) -> tuple[str, float | None]:
    rule = context_of(argo).flags.all["bold"].rule
    return rule.state, rule.percent


async def test_a_ramp_begins_with_the_flag_off_for_the_whole_fleet(tmp_path: Path) -> None:
    async with open_argo(tmp_path) as argo:
        await RampCommands(argo).start("bold")
        assert state_of(argo) == ("on", None)
        ramp = await look(argo)
        assert state_of(argo) == ("off", None)
        assert ramp.intent is None
        assert set(await context_of(argo).counters.watches()) == set()
        await look(argo)
        assert set(await context_of(argo).counters.watches()) == {"bold"}


async def test_a_person_promotes_step_by_step_and_aborts_to_what_was_before(
    tmp_path: Path,
) -> None:
    async with open_argo(tmp_path, plans={"bold": {"steps": ["5%", "25%", "on"]}}) as argo:
        commands = RampCommands(argo)
        await commands.start("bold")
        await look(argo)
        for percent in (5.0, 25.0):
            await commands.promote("bold")
            ramp = await look(argo)
            assert state_of(argo)[1] == percent
        assert [entry.why for entry in ramp.journal if entry.what == "step"] == [
            "5%: by command",
            "25%: by command",
        ]
        await commands.abort("bold", "enough")
        ramp = await look(argo)
        assert (ramp.status, ramp.intent) == ("aborted", None)
        assert state_of(argo) == ("on", None)
        assert context_of(argo).flags.all["bold"].source == "argo.toml"
        assert set(await context_of(argo).counters.watches()) == set()


async def test_promoting_past_the_last_step_ends_the_ramp(tmp_path: Path) -> None:
    async with open_argo(tmp_path, plans={"bold": {"steps": ["5%", "on"]}}) as argo:
        commands = RampCommands(argo)
        await commands.start("bold")
        await look(argo)
        for _ in range(2):
            await commands.promote("bold")
            ramp = await look(argo)
        assert ramp.status == "done"
        assert state_of(argo) == ("on", None)


async def test_a_ramp_is_paused_and_goes_on(tmp_path: Path) -> None:
    async with open_argo(tmp_path) as argo:
        commands = RampCommands(argo)
        await commands.start("bold")
        assert (await commands.pause("bold")).status == "paused"
        assert (await commands.resume("bold")).status == "running"


async def test_what_cannot_be_done_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with open_argo(tmp_path) as argo:
        commands = RampCommands(argo)
        with pytest.raises(ConfigError, match="did you mean 'bold'"):
            await commands.start("bald")
        with pytest.raises(ConfigError, match="not being ramped"):
            await commands.pause("bold")
        await commands.start("bold")
        with pytest.raises(ConfigError, match="being ramped already"):
            await commands.start("bold")
        await commands.abort("bold", "")
        with pytest.raises(ConfigError, match="has ended"):
            await commands.resume("bold")


async def test_a_flag_that_was_rolled_back_is_ramped_only_once_it_is_revived(
    tmp_path: Path,
) -> None:
    async with open_argo(tmp_path) as argo:
        flags = context_of(argo).flags
        await flags.roll_back("bold", "p99 doubled", fleet=True)
        with pytest.raises(ConfigError, match="p99 doubled.*flags revive bold --fleet"):
            await RampCommands(argo).start("bold")
        await flags.revive("bold", fleet=True)
        await RampCommands(argo).start("bold")


async def test_a_flag_that_has_a_share_is_off_too_while_its_subjects_are_learnt(
    tmp_path: Path,
) -> None:
    async with open_argo(tmp_path, "10%") as argo:
        await RampCommands(argo).start("bold")
        ramp = await look(argo)
        assert state_of(argo) == ("off", None)
        assert ramp.before == "10%"


async def test_a_rollback_that_is_not_carried_out_yet_is_not_started_over(tmp_path: Path) -> None:
    async with open_argo(tmp_path) as argo:
        commands, ramps = RampCommands(argo), Ramps(context_of(argo))
        await commands.start("bold")
        await look(argo)
        await ramps.change("bold", lambda ramp: judging.rolled_back(ramp, 0.0, "it is wrong"))
        with pytest.raises(ConfigError, match="which no judge has carried out"):
            await commands.start("bold")
        await look(argo)
        flags = context_of(argo).flags
        assert flags.all["bold"].rule.rolled_back
        await flags.revive("bold", fleet=True)
        assert state_of(argo) == ("off", None)


async def test_what_the_fleet_had_set_is_so_again_after_a_ramp_and_a_kill_stays(
    tmp_path: Path,
) -> None:
    async with open_argo(tmp_path) as argo:
        flags, commands = context_of(argo).flags, RampCommands(argo)
        await flags.set("bold", "5%", fleet=True)
        await commands.start("bold")
        await look(argo)
        await commands.abort("bold", "")
        await look(argo)
        assert state_of(argo)[1] == 5.0
        await flags.unset("bold", fleet=True)
        await commands.start("bold")
        await look(argo)
        await flags.kill("bold", fleet=True)
        await commands.abort("bold", "")
        await look(argo)
        assert flags.all["bold"].rule.killed


async def test_a_ramp_that_is_started_anew_keeps_the_journal(tmp_path: Path) -> None:
    async with open_argo(tmp_path, "off") as argo:
        commands = RampCommands(argo)
        await commands.start("bold")
        await commands.abort("bold", "lunch")
        await look(argo)
        ramp = await commands.start("bold")
        assert [entry.what for entry in ramp.journal] == ["started", "aborted", "started"]


async def test_exit_codes_tell_how_ramps_are(world: World) -> None:
    ramp = await world.start()
    assert exit_code([ramp]) == 0
    assert exit_code([ramp, evolve(ramp, status="rolled back")]) == 1
    assert exit_code([ramp, evolve(ramp, loud=True, hold="no data")]) == 3
    assert exit_code([evolve(ramp, loud=True, hold="no data", status="done")]) == 0


class Listener(BaseHTTPRequestHandler):
    """Keeps what is posted; refuses the first."""

    posted: list[object]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append(json.loads(body))
        self.send_response(500 if len(self.posted) == 1 else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[tuple[str, list[object]]]:
    posted: list[object] = []
    kind = type("Kept", (Listener,), {"posted": posted})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?token=s3cret", posted
        server.shutdown()
        thread.join()


def in_haste(world: World) -> Webhook:
    """A webhook that does not pause between its tries."""

    async def sleep(seconds: float) -> None:
        pass

    context = world.context()
    context.clock = SimpleNamespace(sleep=sleep)
    return Webhook(context)


async def test_a_message_is_posted_until_it_is_taken(
    world: World, listener: tuple[str, list[object]]
) -> None:
    url, posted = listener
    await in_haste(world)._post(url, {"text": "bold: rolled back"})
    assert posted == [{"text": "bold: rolled back"}] * 2
    assert world.said == []


async def test_a_webhook_that_is_not_reached_is_reported_and_nothing_waits(world: World) -> None:
    webhook = in_haste(world)
    webhook.post(SecretUrl(""), {"text": "nothing"})
    assert len(world.tasks) == 0
    await webhook._post("http://127.0.0.1:9/", {"text": "bold: rolled back"})
    assert "bold: rolled back" in world.said[0]
    await webhook._post("file:///etc/passwd", {"text": "bold: rolled back"})
    assert "not an http URL" in world.said[1]


class Elsewhere(Listener):
    """Sends everybody to another page."""

    def do_POST(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/login")
        self.end_headers()

    def do_GET(self) -> None:
        self.posted.append(self.path)
        self.send_response(200)
        self.end_headers()


async def test_a_webhook_that_redirects_has_not_taken_the_message(world: World) -> None:
    asked: list[object] = []
    kind = type("Sent", (Elsewhere,), {"posted": asked})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        await in_haste(world)._post(f"http://127.0.0.1:{server.server_port}/a", {"text": "x"})
        server.shutdown()
        thread.join()
    assert asked == []
    assert "302" in world.said[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/services/T0/s3cret pa",
        "http://127.0.0.1:9/hook?token=s3cret",
        "http://s3cret-host.invalid:bad/hook",
        "http://[s3cret/hook",
    ],
)
async def test_nothing_of_the_url_of_a_webhook_is_reported(world: World, url: str) -> None:
    await in_haste(world)._post(url, {"text": "x"})
    assert "not reached" in world.said[0]
    assert "s3cret" not in world.said[0]


def test_the_commands_begin_show_and_end_a_ramp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["compare", "llm", "market", "metrics", "persist", "sandbox", "signals", "similarity"]
    (tmp_path / "argo.toml").write_text(
        f'[argo]\nstate_dir = "{tmp_path}"\nblock = {json.dumps(names)}\n'
    )

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["rollout", *words])

    started = run("start", "race")
    assert started.exit_code == 0, started.output
    shown = json.loads(run("status", "race", "--json").stdout)
    assert [(one["flag"], one["status"], one["step"]) for one in shown] == [
        ("race", "running", "learning what is usual")
    ]
    assert "learning" in run("report", "race").stdout
    assert "race" in run("status").stdout
    for word in ("pause", "resume", "promote", "abort"):
        assert run(word, "race").exit_code == 0
    assert run("status", "race").exit_code == 0
    assert run("status", "cache").exit_code == 1
