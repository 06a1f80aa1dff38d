"""No secret is shown: canaries in every key of the configuration are searched for everywhere.

What is planted comes from the configuration's own classes, so that new keys and new plugins are
covered without being named here.
"""

from __future__ import annotations

import asyncio
import html
import io
import json
import logging
import traceback
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote, quote_plus

import attrs
import pytest
import structlog
from attrs import frozen
from click.testing import CliRunner
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from argo_mw import Argo, ConfigError, Secret, SecretUrl, Settings, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.app.opening import read_settings
from argo_mw.base.errors import hide_causes
from argo_mw.cli.doctor import examine
from argo_mw.cli.main import cli
from argo_mw.config import ArgoSettings, OperationSettings, UpstreamSettings, parse
from argo_mw.config.convert import OneOrMore, Shown
from argo_mw.plugin import Log, collect, context_of, observe, plugin_of, redact, redact_url
from argo_mw.registry import Plugins
from argo_mw_metrics.plugin import MetricsPlugin

CANARY = "CANARY{:03}0123456789abcdefghijklmnopqrs"
VENDORS = [
    "APCA_API_KEY_ID",
    "APCA_API_SECRET_KEY",
    "MASSIVE_API_KEY",
    "POLYGON_API_KEY",
    "ALPHAVANTAGE_API_KEY",
    "ANTHROPIC_API_KEY",
    "ZAI_API_KEY",
    "DEEPSEEK_API_KEY",
    "DASHSCOPE_API_KEY",
]
"""Variables of the environment that plugins read by themselves."""


@frozen
class Key:
    """A key of the configuration.

    Attributes:
        path: Where it stands.
        kind: The type of its field.
    """

    path: tuple[str, ...]
    kind: object

    def __str__(self) -> str:
        return ".".join(self.path)

    @property
    def takes_text(self) -> bool:
        """Whether text from the environment is put there, which must be hidden then."""
        return self.kind in (str, Secret, SecretUrl, OneOrMore)

    @property
    def is_url(self) -> bool:
        return self.path[-1] in ("url", "shared")

    def table(self, value: object) -> dict[str, object]:
        """The configuration in which *value* stands at this key."""
        for name in reversed(self.path):
            value = [value] if name == "[]" else {name: value}
        assert isinstance(value, dict)
        return value


def keys_of(kind: object, path: tuple[str, ...]) -> Iterator[Key]:
    """The keys of a table, or of the value at *path*, of type *kind*."""
    if get_origin(kind) in (Union, UnionType):
        [kind] = [one for one in get_args(kind) if one is not type(None)]
    origin = get_origin(kind)
    if isinstance(kind, type) and attrs.has(kind):
        hints = get_type_hints(kind, include_extras=True)
        for one in attrs.fields(kind):
            yield from keys_of(hints[one.name], (*path, one.name))
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = get_args(kind)
        name = get_args(key)[0] if get_origin(key) is Literal else "anything"
        yield from keys_of(value, (*path, name))
    elif origin is tuple and kind != OneOrMore:
        yield from keys_of(get_args(kind)[0], (*path, "[]"))
    else:
        yield Key(path, kind)


INSTALLED = Plugins.load()


def all_keys() -> list[Key]:
    """Every key of the core and of every installed plugin."""
    tables = {("argo",): ArgoSettings}
    tables |= {("operations", "bars"): OperationSettings, ("upstreams", "a"): UpstreamSettings}
    for name in INSTALLED.names:
        if (cls := INSTALLED.config_class(name)) is not None:
            tables["plugins", name] = cls
    return [key for path, cls in tables.items() for key in keys_of(cls, path)]


KEYS = all_keys()
TEXTS = [key for key in KEYS if key.takes_text]
OTHERS = [key for key in KEYS if not key.takes_text and key.kind not in (Shown, Path, object)]
HIDDEN = [key for key in TEXTS if key.kind is not str or key.is_url]
"""Keys at which any text is good."""


class Canaries:
    """What must not be found, each in a variable of the environment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._environment = monkeypatch
        self.known: dict[str, str] = {}
        self.found: list[str] = []
        for name in VENDORS:
            self.plant(name, name)

    def plant(self, where: str, variable: str = "") -> str:
        """A new canary, as it is written in a configuration."""
        variable = variable or f"PLANTED_{len(self.known)}"
        canary = CANARY.format(len(self.known))
        self.known[where] = canary
        self._environment.setenv(variable, canary)
        return f"${{{variable}}}"

    def value(self, key: Key) -> str:
        """What to write at *key*."""
        planted = self.plant(str(key))
        if key.path == ("argo", "shared"):
            return f"redis://user:{planted}@127.0.0.1:1/0"
        if key.path[1:] == ("persist", "url"):
            return f"postgresql://user:{planted}@127.0.0.1:1/argo"
        return f"http://user:{planted}@127.0.0.1:1" if key.is_url else planted

    def look(self, place: str, shown: object) -> None:
        """Note which canaries *shown* holds."""
        text = shown if isinstance(shown, str) else repr(shown)
        for where, one in self.known.items():
            if (at := text.find(one)) >= 0:
                self.found.append(f"{where} in {place}: …{text[max(0, at - 150) : at]}<CANARY>")

    def look_into_files(self, directory: Path) -> None:
        for file in directory.rglob("*"):
            if file.is_file():
                self.look(f"file {file.name}", file.read_bytes().decode("latin-1"))

    def look_into_error(self, place: str, error: BaseException) -> None:
        self.look(f"error of {place}", f"{error} {error!r} {error.args}")
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        self.look(f"traceback of {place}", "".join(whole.format()))

    def look_into_settings(self, settings: Settings) -> None:
        self.look("settings", f"{settings} {settings!r}")
        as_dict = attrs.asdict(settings)
        self.look("dump of settings", f"{as_dict} {json.dumps(as_dict, default=str)}")
        self.look("JSON of settings", json.dumps(settings, default=vars_of))


def vars_of(value: object) -> object:
    """What a careless dump makes of an object."""
    if attrs.has(type(value)):
        return {a.name: getattr(value, a.name) for a in attrs.fields(type(value))}
    return dict(value) if isinstance(value, Mapping) else str(value)


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Canaries]:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    canaries = Canaries(monkeypatch)
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield canaries
    root.removeHandler(handler)
    root.setLevel(level)
    canaries.look("log", printed.getvalue())
    canaries.look_into_files(tmp_path / "state")
    assert [] == sorted(set(canaries.found))


def merged(tables: Iterable[Mapping[str, object]]) -> dict[str, object]:
    whole: dict[str, object] = {}
    for table in tables:
        for name, value in table.items():
            known = whole.get(name)
            both = isinstance(known, dict) and isinstance(value, dict)
            whole[name] = merged([known, value]) if both else value  # type: ignore[list-item]
    return whole


async def opened(canaries: Canaries, config: Mapping[str, object] | Path) -> None:
    """Open an application for *config*, which may fail, and look at all that is seen of it."""
    if (error := fault_of(config)) is not None:
        canaries.look_into_error("the configuration", error)
        return
    events: list[str] = []
    try:
        settings = read_settings(config)
        canaries.look_into_settings(settings)
        async with Argo.open(settings) as argo:
            observe(argo, lambda event: events.append(repr(event)))
            await look_at(canaries, argo)
    except Exception as error:
        canaries.look_into_error("opening", error)
    canaries.look("events", "\n".join(events))


async def look_at(canaries: Canaries, argo: Argo) -> None:
    """Look at what an open application shows without being asked anything."""
    canaries.look("broken plugins", argo.broken)
    canaries.look("configurations", engine_of(argo).plugins.configured)
    canaries.look("context", [context_of(argo), context_of(argo).shared, context_of(argo).codecs])
    pipeline = engine_of(argo).pipeline
    canaries.look("pipeline", [pipeline, pipeline.contributions, pipeline.upstreams])
    canaries.look("gauges", [list(one) for one in collect(argo, "register_gauges",
                                                          context=context_of(argo)).values()])  # fmt: skip


QUESTIONS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("bars", {"symbol": "AAPL", "days": 5}),
    ("news", {"symbol": "AAPL"}),
    ("complete", {"messages": "hi"}),
    ("complete", {"messages": "hi", "model": "claude-sonnet-5-5"}),
    ("opinion", {"symbol": "AAPL", "indicators": {"rsi": 1.0}}),
    ("latest", {"symbol": "AAPL"}),
    ("signal", {"symbol": "AAPL"}),
    ("answers", {"of": "bars"}),
)


async def ask(
    canaries: Canaries, argo: Argo, operation: str, parameters: Mapping[str, object]
) -> None:
    try:
        canaries.look(f"explanation of {operation}", argo.explain(operation, **parameters))
        await argo.options(timeout=3.0).call(operation, **parameters)
    except Exception as error:
        canaries.look_into_error(operation, error)


# -- The tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", TEXTS, ids=str)
async def test_text_from_the_environment_is_not_shown_wherever_it_stands(
    canaries: Canaries, key: Key
) -> None:
    await opened(canaries, key.table(canaries.value(key)))


@pytest.mark.parametrize("written", ["from the environment", "in the file"])
@pytest.mark.parametrize("key", OTHERS, ids=str)
def test_text_at_a_key_for_something_else_is_not_shown(
    canaries: Canaries, key: Key, written: str
) -> None:
    value = canaries.plant(str(key))
    table = key.table(value if written == "from the environment" else canaries.known[str(key)])
    refused(canaries, table)


@pytest.mark.parametrize("wrong", [[["CANARY"]], {"a": "CANARY"}], ids=["list", "table"])
@pytest.mark.parametrize("key", TEXTS, ids=str)
def test_a_list_or_table_in_place_of_a_text_is_not_shown(
    canaries: Canaries, key: Key, wrong: object
) -> None:
    planted = canaries.plant(str(key))
    refused(canaries, key.table(json.loads(json.dumps(wrong).replace("CANARY", planted))))
    refused(
        canaries,
        key.table(json.loads(json.dumps(wrong).replace("CANARY", canaries.known[str(key)]))),
    )


@pytest.mark.parametrize("key", [key for key in TEXTS if key.is_url], ids=str)
@pytest.mark.parametrize(
    "url",
    ["http://u:{}@evil.example", "redsi://u:{}@h/0", "redis://u:{}@h:port/0", "redis://u:{}@h:1/x",
     "redis://u:{}@h:1/0?timeout=x", "redis://u:{}@h:1/0?nope=1", "redis://u:{}[@h:1/0",
     "redis://u:{}/x@h:1/0", "redis+sentinel://u:{}@h:x/mymaster/0", "mysql://u:{}@h/x",
     "postgresql://u:{}@h:port/x", "postgresql://u:{}@[h/x", "postgres//u:{}@h/x",
     "postgresql://u:{}@127.0.0.1:1/x?sslmode=zzz", "https://u:{}@h:1:2/", "{}"],
)  # fmt: skip
@pytest.mark.parametrize("written", ["from the environment", "in the file"])
async def test_a_wrong_url_is_refused_without_its_password(
    canaries: Canaries, tmp_path: Path, key: Key, url: str, written: str
) -> None:
    planted = canaries.plant(str(key))
    if written == "in the file":
        if url == "{}":
            pytest.skip("only a password in a URL is known to be secret")
        planted = canaries.known[str(key)]
    file = tmp_path / "argo.toml"
    file.write_text("".join(toml(key.table(url.format(planted)))))
    await opened(canaries, file)


def refused(canaries: Canaries, table: Mapping[str, object]) -> None:
    """Look at the error for *table*, in a function that does not know the canary."""
    error = fault_of(table)
    assert error is not None, "it was taken"
    canaries.look("error", f"{error} {error!r} {traceback.format_exception(error)}")


def fault_of(config: Mapping[str, object] | Path) -> Exception | None:
    """Return what is wrong with *config* by the classes of its tables, if anything is."""
    try:
        settings = read_settings(config)
        INSTALLED.configs(settings.plugins, settings.source)
    except ConfigError as error:
        return error
    return None


async def test_nothing_shows_the_secrets_of_an_application_whose_servers_are_away(
    canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = merged(key.table(canaries.value(key)) for key in HIDDEN)
    exporter, spans = InMemorySpanExporter(), TracerProvider()
    spans.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: spans)
    events: list[str] = []
    whole = {"anything": {"wire": "chat", "model": "m"}}  # which needs more than secrets
    llm = {"providers": whole}
    # An upstream's name is taken once: the table of providers has the other one of it.
    apis = table["plugins"]["http"].pop("apis")
    http = {
        "apis": {"elsewhere": apis["anything"]},
        "routes": [{"host": "example.com", "path": "/", "api": "elsewhere"}],
    }
    plugins = {"metrics": {"port": 0}, "llm": llm, "http": http}
    settings = parse(merged([table, {"plugins": plugins}]))
    canaries.look_into_settings(settings)
    async with AsyncExitStack() as stack:
        argo = await stack.enter_async_context(Argo.open(settings))
        observe(argo, lambda event: events.append(repr(event)))
        for operation, parameters in QUESTIONS:
            await ask(canaries, argo, operation, parameters)
        canaries.look("doctor", await examine(argo))
        port = plugin_of(argo, MetricsPlugin).port
        metrics = await asyncio.to_thread(exposition, f"http://127.0.0.1:{port}/metrics")
        canaries.look("metrics", metrics)
        assert "argo" in metrics
        await look_at(canaries, argo)
        broken = argo.broken
    canaries.look("events", "\n".join(events))
    canaries.look(
        "spans",
        [(span.name, span.attributes, span.events) for span in exporter.get_finished_spans()],
    )
    assert exporter.get_finished_spans()
    assert () == broken, "all plugins took part"
    assert events


def exposition(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read().decode()


COMMANDS = (
    "plugins", "plugins --json", "doctor", "doctor --json", "explain bars AAPL", "flags",
    "cache stats", "db check", "db answers bars", "costs", "bars AAPL", "ask hi",
    "signals latest AAPL", "signals show AAPL",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_a_secret(canaries: Canaries, tmp_path: Path, command: str) -> None:
    table = merged(key.table(canaries.value(key)) for key in HIDDEN)
    file = tmp_path / "argo.toml"
    file.write_text("".join(toml(table)))
    before = structlog.get_config()
    ended = CliRunner().invoke(cli, ["--config", str(file), *command.split()])
    structlog.configure(**before)
    canaries.look(command, ended.output)
    if ended.exception is not None:
        canaries.look_into_error(command, ended.exception)


def toml(table: Mapping[str, object], path: str = "") -> Iterator[str]:
    for name, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{name} = {json.dumps(value)}\n"
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield f"[{path}{name}]\n"
            yield from toml(value, f"{path}{name}.")


# -- Redaction -----------------------------------------------------------------------------------


def test_what_is_logged_with_structlog_holds_no_secret() -> None:
    Secret("hunter2hunter2")
    printed = io.StringIO()
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(printed))
    Log("x").warning(
        "it said hunter2hunter2", where=["hunter2hunter2"], error=ValueError("hunter2hunter2")
    )
    structlog.reset_defaults()
    assert before
    assert "hunter2" not in printed.getvalue()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:pa@ss@h:1/0", "redis://u:********@h:1/0"),
        ("postgresql://u@h/x", "postgresql://u@h/x"),
        ("https://h/a?apikey=abc&b=1", "https://h/a?apikey=********&b=1"),
        ("redis+sentinel://h:1/m/0?sentinel_password=x", "redis+sentinel://h:1/m/0?sentinel_password=********"),
        ("no url", "no url"),
    ],
)  # fmt: skip
def test_urls_are_shown_without_password_and_key(url: str, shown: str) -> None:
    assert shown == redact_url(url)
    assert shown == redact(url)


QUOTINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "a path": quote,
    "a part of a path": lambda text: quote(text, safe=""),
    "a query": quote_plus,
    "Python": lambda text: repr(text)[1:-1],
    "Python, in ASCII": lambda text: ascii(text)[1:-1],
    "Python's bytes": lambda text: repr(text.encode())[2:-1],
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with letters as they are": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "HTML": html.escape,
}
ODD = ["p@ss/w+rd&x=y==", 'qu"ote\'d"long', "pässwörd-lang", "back\\slash\\key", "in three words"]


@pytest.mark.parametrize("quoting", QUOTINGS)
@pytest.mark.parametrize("secret", ODD)
def test_a_secret_is_struck_out_however_it_is_quoted(secret: str, quoting: str) -> None:
    Secret(secret)
    written = QUOTINGS[quoting](secret)
    for form in (written, written.lower(), written.upper()):
        assert "it said ******** to us" == redact(f"it said {form} to us")


def test_a_secret_in_an_error_of_a_group_is_struck_out() -> None:
    Secret("hunter4hunter4")
    inner = ValueError("the key hunter4hunter4 is wrong")
    inner.__cause__ = KeyError("it")
    group = ExceptionGroup("several", [KeyError("a"), ExceptionGroup("more", [inner])])
    error = UpstreamError("down", upstream="a")
    error.__cause__ = group
    hide_causes(error)
    shown = "".join(traceback.format_exception(error))
    assert "hunter4" not in shown
    assert "the key ******** is wrong" in shown
