"""From ``new-plugin`` to a killed flag, in a clean directory, with the tutorial's steps only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from click.testing import CliRunner

from argo_mw import ConfigError
from argo_mw.cli.authoring import KINDS, write
from argo_mw.cli.main import cli

if TYPE_CHECKING:
    from tests.authoring.conftest import Workshop

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio
from pathlib import Path

from argo_mw import Argo, Outcome

SYMBOLS = [f"S{{number}}" for number in range(400)]
argo = Argo.open("argo.toml")


@argo.wrap(name="quote", kind={kind!r})
async def quote(symbol: str, prompt: str = "") -> str:
    return symbol


{touched}


async def main() -> None:
    async with argo:
        answers = await touched()
    print(sum(answers) if not isinstance(answers, Path) else len(answers.read_text().splitlines()))


asyncio.run(main())
"""


@frozen
class Use:
    """How a kind of plugin is used: the steps of the tutorial, and how they are seen.

    Attributes:
        config: What is written into ``argo.toml``.
        touched: A function that asks 400 questions and says whose answers the plugin touched.
        flag: What ramps and kills it.
        beside: Installed plugins that it works with.
        kind: The kind of the operation that is asked.
    """

    config: str
    touched: str
    flag: str
    beside: frozenset[str] = frozenset({"cache", "coalesce"})
    kind: str = "fetch"


USES = {
    "layer": Use(
        "[plugins.my_layer]\nslow_after = 1e-9\n",
        """
async def touched() -> list[bool]:
    answers = await argo.map("quote", SYMBOLS)
    return ["my_layer" in outcome.via for outcome in answers.values()]
""",
        "my_layer",
    ),
    "upstream": Use(
        '[plugins.my_upstream]\nkey = "k"\nurl = "{url}"\n',
        """
async def touched() -> list[bool]:
    answers = await argo.map("my_upstream.quote", SYMBOLS)
    assert all(isinstance(a, Outcome) or "switched on" in str(a) for a in answers.values())
    return [isinstance(answer, Outcome) for answer in answers.values()]
""",
        "upstream.my_upstream",
    ),
    "policy": Use(
        '[plugins.adaptive_ttl]\npolicy = "my_policy"\n',
        """
async def touched() -> list[bool]:
    answers = await argo.map("quote", SYMBOLS)
    notes = [[note.text for note in outcome.notes] for outcome in answers.values()]
    return [any("the market is" in text for text in texts) for texts in notes]
""",
        "adaptive_ttl",
        beside=frozenset({"adaptive_ttl", "cache", "coalesce"}),
    ),
    "sink": Use(
        "",
        """
async def touched() -> Path:
    file = context_of(argo).state_dir / "my_sink.jsonl"
    file.unlink(missing_ok=True)
    file.touch()
    await argo.map("quote", SYMBOLS)
    return file
""",
        "my_sink.lines",
    ),
    "embedder": Use(
        '[plugins.similarity]\nembedder = "my_embedder"\nembed_timeout = 60\n',
        """
async def touched() -> list[bool]:
    for article in ("the", "an"):
        prompts = [f"write {{article}} outlook for the {{s}} stock" for s in SYMBOLS]
        asked = zip(SYMBOLS, prompts)
        answers = [await argo.outcome("quote", symbol=s, prompt=p) for s, p in asked]
    return ["similarity" in outcome.via for outcome in answers]
""",
        "similarity",
        beside=frozenset({"coalesce", "similarity"}),
        kind="llm",
    ),
}


class Service(BaseHTTPRequestHandler):
    """Answers as the service does that the template asks."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"price": 190.5}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server that lets 400 connections wait: one that is turned away asks again a second later."""

    request_queue_size = 400


@pytest.fixture
def service() -> Iterator[str]:
    """The URL of a service on a free port."""
    with Server(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def workshop(open_workshop: Callable[[], Workshop]) -> Workshop:
    workshop = open_workshop()
    for kind in KINDS:
        workshop.argo_mw("new-plugin", f"my-{kind}", "--kind", kind)
    workshop.install(*(folder(workshop, kind) for kind in KINDS))
    return workshop


def folder(workshop: Workshop, kind: str) -> Path:
    return workshop.home / f"argo-mw-my-{kind}"


def test_new_plugins_show_up_at_once(workshop: Workshop) -> None:
    (workshop.home / "argo.toml").unlink(missing_ok=True)  # another test may have blocked some
    shown = json.loads(workshop.argo_mw("plugins", "--json"))
    assert shown["broken"] == []
    origins = {row["plugin"]: row["from"] for row in shown["plugins"]}
    for kind in KINDS:
        assert origins[f"my_{kind}"] == f"argo-mw-my-{kind} 0.1.0"
    assert "my_layer" in shown["chain"]
    assert "my-command" in workshop.argo_mw("--help")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests(workshop: Workshop, kind: str) -> None:
    """Whatever its author has done to its flag meanwhile."""
    rules = {name: {"killed": True} for name in (f"my_{kind}", "my_sink.lines", "adaptive_ttl")}
    state = workshop.home / "state"
    state.mkdir(exist_ok=True)
    (state / "flags.json").write_text(json.dumps(rules))
    printed = workshop.run("pytest", "-q", "-p", "no:cacheprovider", cwd=folder(workshop, kind))
    (state / "flags.json").unlink()
    assert " passed" in printed


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_well_formed(workshop: Workshop, kind: str) -> None:
    workshop.run("ruff", "check", "--no-cache", ".", cwd=folder(workshop, kind))
    workshop.run("ruff", "format", "--no-cache", "--check", ".", cwd=folder(workshop, kind))


# What the kinds of the first line import takes mypy a few seconds; pandas takes it half a minute.
@pytest.mark.parametrize(
    "kinds",
    [
        ("layer", "upstream", "sink", "command"),
        pytest.param(("policy", "embedder"), marks=pytest.mark.soak),
    ],
    ids=", ".join,
)
def test_new_plugins_are_typed(workshop: Workshop, kinds: tuple[str, ...]) -> None:
    packages = [part for kind in kinds for part in ("-p", f"argo_mw_my_{kind}")]
    workshop.run("mypy", "--strict", "--cache-dir", os.devnull, *packages)


def write_config(workshop: Workshop, *using: str, rest: str = "", blocking: str = "") -> None:
    """Configure an application in which only *using* are there, of all that is installed."""
    installed = {p.name for p in entry_points(group="argo_mw")} | {f"my_{kind}" for kind in KINDS}
    block = json.dumps(sorted(installed - set(using) | {blocking} - {""}))
    text = f'[argo]\nshared = "memory://"\nblock = {block}\n\n{rest}'
    (workshop.home / "argo.toml").write_text(text)


@pytest.mark.parametrize("kind", USES)
def test_a_new_plugin_is_used_ramped_and_killed(
    workshop: Workshop, kind: str, service: str
) -> None:
    use = USES[kind]
    write_config(workshop, f"my_{kind}", *use.beside, rest=use.config.format(url=service))
    code = PROGRAM.format(kind=use.kind, touched=use.touched.replace("{{", "{").replace("}}", "}"))
    (workshop.home / "program.py").write_text(code)
    assert 400 == int(workshop.run("program"))

    workshop.argo_mw("flags", "set", use.flag, "10% by subject")
    tenth = int(workshop.run("program"))
    assert 10 < tenth < 80

    workshop.argo_mw("flags", "kill", use.flag)
    assert 0 == int(workshop.run("program"))

    workshop.argo_mw("flags", "revive", use.flag)
    assert tenth == int(workshop.run("program"))


def test_a_new_command_is_used_and_blocked(workshop: Workshop) -> None:
    """No call goes through it, so there is nothing to ramp."""
    write_config(workshop, "my_command")
    assert {"flags": 0} == json.loads(workshop.argo_mw("my-command", "--json"))
    write_config(workshop, "my_command", blocking="my_command")
    assert "my-command" not in workshop.argo_mw("--help")


# -- Writing alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "n" * 32])
def test_it_is_well_formed_whatever_its_name_s_length(workshop: Workshop, name: str) -> None:
    for kind in KINDS:
        into = workshop.home / f"{kind}-{len(name)}"
        into.mkdir()
        made = write(name, kind, into)
        workshop.run("ruff", "check", "--no-cache", ".", cwd=made.path)
        workshop.run("ruff", "format", "--no-cache", "--check", ".", cwd=made.path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_is_complete(tmp_path: Path, kind: str) -> None:
    made = write("a-very-long-name-of-a-plugin", kind, tmp_path)
    name = made.name
    assert made.path.name == "argo-mw-a-very-long-name-of-a-plugin"
    assert set(map(str, made.files)) == {
        ".github/workflows/ci.yml",
        "README.md",
        f"argo_mw_{name}/__init__.py",
        f"argo_mw_{name}/plugin.py",
        f"argo_mw_{name}/py.typed",
        "pyproject.toml",
        "tests/conftest.py",
        f"tests/test_{name}.py",
    }
    project = tomllib.loads((made.path / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["argo_mw"].keys() == {name}
    assert project["entry-points"]["argo_mw.hook_api"] == {name: "1"}


def test_the_wheel_holds_every_template(tmp_path: Path) -> None:
    import zipfile

    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    held = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    templates = ROOT.glob("argo_mw/authoring/templates/**/*.tmpl")
    assert {str(t.relative_to(ROOT)) for t in templates} == {n for n in held if ".tmpl" in n}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Shout", "layer", "'Shout' cannot name a plugin: use lower-case words joined by _"),
        ("../x", "layer", "cannot name a plugin"),
        ("class", "layer", "cannot name a plugin"),
        ("n" * 33, "layer", "is 33 letters long; a plugin's name has 32 at most"),
        ("cache", "layer", "'cache' is taken by the plugin from argo-mw-cache .* choose another"),
        ("fine", "guard", "no kind of plugin called 'guard'; known are layer, upstream"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, kind: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write(name, kind, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["doctor", "new_plugin", "demo"])
def test_a_command_that_is_there_already_is_refused(tmp_path: Path, name: str) -> None:
    """The new one would never run."""
    arguments = ["new-plugin", name, "--kind", "command", "--into", str(tmp_path)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1
    dashed = name.replace("_", "-")
    assert f"`argo-mw {dashed}` is a command already; choose another name" in done.output
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    mine = write("fine", "layer", tmp_path).path / "README.md"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match="is there already, and nothing is overwritten"):
        write("fine", "upstream", tmp_path)
    assert mine.read_text() == "mine"


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["new-plugin", "fine", "--into", str(tmp_path)])
    assert done.exit_code == 0
    assert "pip install -e" in done.output
    again = CliRunner().invoke(cli, ["new-plugin", "fine", "--into", str(tmp_path)])
    assert again.exit_code == 1
    assert "is there already" in again.output
