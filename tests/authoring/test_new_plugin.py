"""From ``new-plugin`` to a killed flag, in a clean directory, with the tutorial's steps only."""

from __future__ import annotations

import ast
import json
import os
import threading
import tomllib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from attrs import frozen
from click.testing import CliRunner

from argo_mw import ConfigError
from argo_mw.cli.authoring import CORE_KINDS, known_kinds, write
from argo_mw.cli.main import cli
from argo_mw.plugin import PluginTemplate, hookimpl
from argo_mw.registry import Plugins

if TYPE_CHECKING:
    from tests.authoring.conftest import Workshop

ROOT = Path(__file__).parents[2]
KINDS = known_kinds(Plugins.load())

PROGRAM = """
import asyncio
from pathlib import Path

from argo_mw import Argo, Outcome
from argo_mw.plugin import context_of

CITIES = [f"C{{number}}" for number in range(400)]
argo = Argo.open("argo.toml")


@argo.wrap(name="forecast", kind={kind!r}, subject="city")
async def forecast(city: str, prompt: str = "") -> str:
    return city


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
    answers = await argo.map("forecast", CITIES)
    return ["my_layer" in outcome.via for outcome in answers.values()]
""",
        "my_layer",
    ),
    "upstream": Use(
        '[plugins.my_upstream]\nkey = "k"\nurl = "{url}"\n',
        """
async def touched() -> list[bool]:
    answers = await argo.map("my_upstream.forecast", CITIES)
    assert all(isinstance(a, Outcome) or "switched on" in str(a) for a in answers.values())
    return [isinstance(answer, Outcome) for answer in answers.values()]
""",
        "upstream.my_upstream",
    ),
    "policy": Use(
        '[plugins.adaptive_ttl]\npolicy = "my_policy"\n',
        """
async def touched() -> list[bool]:
    answers = await argo.map("forecast", CITIES)
    notes = [[note.text for note in outcome.notes] for outcome in answers.values()]
    return [any("the market is" in text for text in texts) for texts in notes]
""",
        "adaptive_ttl",
        beside=frozenset({"adaptive_ttl", "cache", "coalesce"}),
    ),
    "observer": Use(
        "",
        """
async def touched() -> Path:
    file = context_of(argo).state_dir / "my_observer.jsonl"
    file.unlink(missing_ok=True)
    file.touch()
    await argo.map("forecast", CITIES)
    return file
""",
        "my_observer.lines",
    ),
    "embedder": Use(
        '[plugins.similarity]\nembedder = "my_embedder"\nembed_timeout = 60\n',
        """
async def touched() -> list[bool]:
    for article in ("the", "an"):
        prompts = [f"write {{article}} outlook for the city {{c}}" for c in CITIES]
        asked = zip(CITIES, prompts)
        answers = [await argo.outcome("forecast", city=c, prompt=p) for c, p in asked]
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
        self.wfile.write(b'{"temperature": 21.5}')

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


@pytest.mark.heavy
def test_the_workshop_uses_wheels_alone(workshop: Workshop) -> None:
    """Templates and conformance suites must work where there is no repository."""
    program = (
        "import argo_mw, argo_mw_similarity as s\nprint(argo_mw.__file__)\nprint(s.__file__)\n"
    )
    (workshop.home / "where.py").write_text(program)
    for place in workshop.run("where").split():
        assert Path(place).is_relative_to(workshop.home)


@pytest.mark.heavy
def test_new_plugins_show_up_at_once(workshop: Workshop) -> None:
    (workshop.home / "argo.toml").unlink(missing_ok=True)  # another test may have blocked some
    shown = json.loads(workshop.argo_mw("plugins", "--json"))
    assert shown["broken"] == []
    origins = {row["plugin"]: row["from"] for row in shown["plugins"]}
    for kind in KINDS:
        assert origins[f"my_{kind}"] == f"argo-mw-my-{kind} 0.1.0"
    assert "my_layer" in shown["chain"]
    assert "my-command" in workshop.argo_mw("--help")


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests(workshop: Workshop, kind: str) -> None:
    """Whatever its author has done to its flag meanwhile."""
    rules = {name: {"killed": True} for name in (f"my_{kind}", "my_observer.lines", "adaptive_ttl")}
    state = workshop.home / "state"
    state.mkdir(exist_ok=True)
    (state / "flags.json").write_text(json.dumps(rules))
    printed = workshop.run("pytest", "-q", "-p", "no:cacheprovider", cwd=folder(workshop, kind))
    (state / "flags.json").unlink()
    assert " passed" in printed


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_well_formed(workshop: Workshop, kind: str) -> None:
    workshop.run("ruff", "check", "--no-cache", ".", cwd=folder(workshop, kind))
    workshop.run("ruff", "format", "--no-cache", "--check", ".", cwd=folder(workshop, kind))


# What the kinds of the first line import takes mypy a few seconds; pandas takes it half a minute.
@pytest.mark.heavy
@pytest.mark.parametrize(
    "kinds",
    [
        ("layer", "upstream", "observer", "command"),
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


@pytest.mark.heavy
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


@pytest.mark.heavy
def test_a_new_command_is_used_and_blocked(workshop: Workshop) -> None:
    """No call goes through it, so there is nothing to ramp."""
    write_config(workshop, "my_command")
    assert {"layers": []} == json.loads(workshop.argo_mw("my-command", "--json"))
    write_config(workshop, "my_command", blocking="my_command")
    assert "my-command" not in workshop.argo_mw("--help")


# -- Writing alone -----------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["x", "n" * 32])
def test_it_is_well_formed_whatever_its_name_s_length(workshop: Workshop, name: str) -> None:
    for kind in KINDS:
        into = workshop.home / f"{kind}-{len(name)}"
        into.mkdir()
        made = write(name, kind, into, KINDS)
        workshop.run("ruff", "check", "--no-cache", ".", cwd=made.path)
        workshop.run("ruff", "format", "--no-cache", "--check", ".", cwd=made.path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_is_complete(tmp_path: Path, kind: str) -> None:
    made = write("a-very-long-name-of-a-plugin", kind, tmp_path, KINDS)
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
        *([f"argo_mw_{name}/flags.py"] if kind in {"upstream", "observer"} else []),
    }
    project = tomllib.loads((made.path / "pyproject.toml").read_text())["project"]
    commands = {name: "argo_mw.cli:no_commands"}
    if kind == "command":
        commands = {"a-very-long-name-of-a-plugin": f"argo_mw_{name}.plugin:command"}
    knowing = f"argo_mw_{name}.flags:flags"
    if kind not in {"upstream", "observer"}:
        knowing = f"argo_mw.cli:{'own_flag' if kind == 'layer' else 'no_flags'}"
    expected = {
        "argo_mw": {name: f"argo_mw_{name}.plugin:Plugin"},
        "argo_mw.commands": commands,
        "argo_mw.flags": {name: knowing},
    }
    assert expected == project["entry-points"]


@pytest.mark.heavy
def test_wheels_hold_every_template(wheels: list[Path]) -> None:
    held = {name for wheel in wheels for name in ZipFile(wheel).namelist()}
    homes = [ROOT, *ROOT.glob("plugins/*/")]
    templates = {
        str(file.relative_to(home)) for home in homes for file in home.glob("argo_mw*/**/*.tmpl")
    }
    assert templates
    assert templates == {name for name in held if name.endswith(".tmpl")}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Shout", "layer", "'Shout' cannot name a plugin: use lower-case words joined by _"),
        ("../x", "layer", "cannot name a plugin"),
        ("class", "layer", "cannot name a plugin"),
        ("n" * 33, "layer", "is 33 letters long; a plugin's name has 32 at most"),
        ("cache", "layer", "'cache' is taken by the plugin from argo-mw-cache .* choose another"),
        ("fine", "guard", "no kind of plugin called 'guard': known are command, "),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, kind: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write(name, kind, tmp_path, KINDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "most"), [("layer", 8), ("upstream", 9), ("observer", 8)])
def test_few_names_are_imported(tmp_path: Path, kind: str, most: int) -> None:
    """They are what a reader must know before reading."""
    made = write("fine", kind, tmp_path, KINDS)
    tree = ast.parse((made.path / "argo_mw_fine" / "plugin.py").read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("argo_mw")
        for alias in node.names
    ]
    assert len(names) <= most


def test_kinds_of_plugins_stand_beside_the_core_s() -> None:
    assert {"layer", "upstream", "observer", "command"} == set(CORE_KINDS)
    assert {"policy", "embedder"} == set(KINDS) - set(CORE_KINDS)


def test_help_lists_the_kinds_of_installed_plugins() -> None:
    printed = CliRunner().invoke(cli, ["new-plugin", "--help"]).output
    for kind, template in KINDS.items():
        assert kind in printed
        assert template.summary in " ".join(printed.split())


def test_help_comes_in_spite_of_a_broken_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "argo.toml").write_text("[argo]\nblock = 1\n")
    done = CliRunner().invoke(cli, ["new-plugin", "--help"])
    assert 0 == done.exit_code
    assert "only the core's kinds are known" in done.output
    assert "observer" in done.output


def test_a_kind_that_is_taken_is_refused() -> None:
    class Twice:
        @hookimpl
        def register_templates(self) -> dict[str, PluginTemplate]:
            return {"layer": CORE_KINDS["layer"]}

    plugins = Plugins.load(installed=False, extra={"twice": Twice})
    with pytest.raises(ConfigError, match="'twice' brings templates of kind 'layer', which is"):
        known_kinds(plugins)


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
    mine = write("fine", "layer", tmp_path, KINDS).path / "README.md"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match="exists, and nothing is overwritten"):
        write("fine", "upstream", tmp_path, KINDS)
    assert mine.read_text() == "mine"


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["new-plugin", "fine", "--into", str(tmp_path)])
    assert done.exit_code == 0
    assert "pip install -e" in done.output
    again = CliRunner().invoke(cli, ["new-plugin", "fine", "--into", str(tmp_path)])
    assert again.exit_code == 1
    assert "exists, and nothing is overwritten" in again.output
