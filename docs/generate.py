"""Write the generated parts of the reference from the code: ``python docs/generate.py``.

A page is written by hand around blocks that begin with ``<!-- generated: NAME -->`` and end with
``<!-- end -->``; what stands between them is replaced. A test fails when a page is out of date.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, cast, get_args

import attrs
import click
import msgspec

import argo_mw
from argo_mw import Argo, ArgoError, Secret
from argo_mw.app.application import engine_of
from argo_mw.cli.main import cli
from argo_mw.config.settings import ArgoSettings, OperationSettings, UpstreamSettings
from argo_mw.model.layer import Shadows
from argo_mw.plugin import Event, Gauge
from argo_mw.registry import Plugins, hooks
from argo_mw.registry.discovery import PROJECT
from argo_mw_cache.gauges import gauges as gauges_of_cache
from argo_mw_gateway.plugin import GatewayPlugin
from argo_mw_http.plugin import HttpPlugin
from argo_mw_metrics import CATALOG
from argo_mw_metrics.gauges import own_gauges
from argo_mw_metrics.metric import prometheus_name
from argo_mw_persist.gauges import gauges as gauges_of_persist
from argo_mw_redis.gauges import gauges as gauges_of_redis

if TYPE_CHECKING:
    from argo_mw.plugin import TagVersions, Tasks
    from argo_mw_redis.driver import RedisShared

DOCS = Path(__file__).parent
ROOT = DOCS.parent
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_SECTIONS = {"Attributes", "Args", "Raises"}


# Docstrings


def markdown(text: str) -> str:
    """A docstring as Markdown: roles and literals become code."""
    return _ROLE.sub(r"`\1`", text.replace("``", "`"))


def prose(thing: object) -> str:
    """A docstring without its sections."""
    doc = inspect.getdoc(thing) or ""
    return markdown(re.split(rf"\n\n(?:{'|'.join(_SECTIONS)}):\n", doc)[0])


def own_attributes(cls: type) -> dict[str, str]:
    """What a class says of each attribute in its own docstring."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    section = re.search(r"^Attributes:\n((?: {4}.*\n?|\n)+)", doc, re.MULTILINE)
    entries = re.split(r"^ {4}(?=\w)", section[1], flags=re.MULTILINE)[1:] if section else []
    said: dict[str, str] = {}
    for entry in entries:
        names, _, text = entry.partition(":")
        said |= {name.strip(): markdown(" ".join(text.split())) for name in names.split(",")}
    return said


def attributes(cls: type) -> dict[str, str]:
    """What a class and its bases say of each attribute."""
    return {k: v for base in reversed(cls.__mro__) for k, v in own_attributes(base).items()}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


# What is installed


def installed() -> Plugins:
    """The plugins of this repository, and no others that happen to be installed."""
    ours = {path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")}
    theirs = set(Plugins.load().names) - ours
    plugins = Plugins.load(block=sorted(theirs), strict=True)
    if missing := ours - set(plugins.names):
        msg = f"not installed: {', '.join(sorted(missing))}; run `make docs`"
        raise SystemExit(msg)
    return plugins


# Configuration


def default(field: attrs.Attribute[object]) -> str:
    """A field's default, as it is written in TOML."""
    value: object = field.default
    make = getattr(value, "factory", None)  # attrs.Factory is not a class to type checkers
    if callable(make):
        value = make()
    match value:
        case None | Secret() | attrs.NOTHING:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case tuple():
            return "`[" + ", ".join(_item(item) for item in value) + "]`"
        case Mapping():
            return "`{}`"
        case _:
            return f"`{value}`"


def _item(item: object) -> str:
    return f'"{item}"' if isinstance(item, str) else str(item)


def tables_of(cls: type, name: str) -> Iterator[tuple[str, type]]:
    """A configuration class and those of its fields, by the tables that they describe."""
    yield f"[{name}]", cls
    for field in attrs.fields(attrs.resolve_types(cls)):
        inner = next((t for t in types_in(field) if is_table(t)), None)
        if inner is None:
            continue
        below = f"{name}.{field.name}"
        if "Mapping" in str(field.type):
            below += ".NAME"
        if "tuple" in str(field.type):
            yield f"[[{below}]]", inner
        else:
            yield from tables_of(inner, below)


def types_in(field: attrs.Attribute[object]) -> tuple[object, ...]:
    """The type of a field and its arguments."""
    return (field.type, *get_args(field.type))


def is_table(hint: object) -> TypeGuard[type]:
    """Whether a type is a configuration class."""
    return isinstance(hint, type) and attrs.has(hint)


def keys(cls: type) -> str:
    """The keys of one configuration class, nested tables left to their own."""
    said = attributes(cls)
    plain = [
        field
        for field in attrs.fields(attrs.resolve_types(cls))
        if not any(is_table(t) for t in types_in(field))
    ]
    rows = [(f"`{f.name}`", default(f), said.get(f.name, "")) for f in plain]
    return table(("key", "default", "meaning"), rows)


def core_tables() -> list[tuple[str, type]]:
    """The tables that the core knows."""
    return [
        ("[argo]", ArgoSettings),
        ("[operations.NAME]", OperationSettings),
        ("[upstreams.NAME]", UpstreamSettings),
    ]


def plugin_tables() -> list[tuple[str, type]]:
    """The tables of the plugins that have any."""
    plugins = installed()
    found: list[tuple[str, type]] = []
    for name in plugins.names:
        config = plugins.call(name, "register_config")
        if isinstance(config, type):
            found += tables_of(config, f"plugins.{name}")
    return found


def configuration(tables: Iterable[tuple[str, type]], level: str) -> str:
    """The tables with their keys."""
    return "\n".join(f"{level} `{name}`\n\n{keys(cls)}" for name, cls in tables)


# Flags, hooks, events, errors, commands


async def _flags() -> list[tuple[str, str, str]]:
    rows = []
    with tempfile.TemporaryDirectory() as state:
        settings = {"argo": {"shared": "memory://", "state_dir": state}}
        async with Argo.open(settings) as argo:
            for name, parts in sorted(engine_of(argo).pipeline.contributions.items()):
                if parts.layers:
                    can_shadow = any(isinstance(one.middleware, Shadows) for one in parts.layers)
                    shadow = "yes" if can_shadow else ""
                    what = "layer" if len(parts.layers) == 1 else "layers"
                    rows.append((f"`{name}`", f"the {what} of {name}", shadow))
                for upstream in parts.upstreams:
                    flag = f"upstream.{upstream.name}"
                    rows.append((f"`{flag}`", f"an upstream of {name}", ""))
            known = {row[0].strip("`") for row in rows}
            rows += [
                (f"`{n}`", "", "") for n in sorted(set(engine_of(argo).pipeline.flags) - known)
            ]
    return sorted(rows, key=lambda row: ("upstream" in row[0], row[0]))


def flags() -> str:
    """Every flag that exists with all plugins installed."""
    return table(("flag", "switches", "`shadow`"), asyncio.run(_flags()))


def hook_specs(namespace: object) -> dict[str, Callable[..., object]]:
    """The hooks that a module or class declares."""
    members = vars(namespace).items()
    return {n: f for n, f in members if hasattr(f, f"{PROJECT}_spec")}


def hook_pages(specs: Mapping[str, Callable[..., object]]) -> str:
    """Hooks with their arguments."""
    parts = []
    for name, spec in specs.items():
        arguments = ", ".join(inspect.signature(spec).parameters)
        parts.append(f"### `{name}({arguments})`\n\n{prose(spec)}\n")
    return "\n".join(parts)


def plugin_specs() -> dict[str, dict[str, Callable[..., object]]]:
    """The hooks of plugins, by plugin."""
    plugins = installed()
    spaces = {n: plugins.call(n, "register_hookspecs") for n in plugins.names}
    return {name: hook_specs(space) for name, space in spaces.items() if space is not None}


def plugin_hooks() -> str:
    """The hooks of every plugin that declares some."""
    return "\n".join(f"## Of {n}\n\n{hook_pages(s)}" for n, s in plugin_specs().items())


def event_types() -> tuple[type, ...]:
    """The events."""
    return get_args(Event)


def events() -> str:
    """Every event with its fields."""
    parts = []
    for event in event_types():
        said = attributes(event)
        fields = [
            (f"`{one.name}`", said.get(one.name, "")) for one in msgspec.structs.fields(event)
        ]
        parts.append(f"## `{event.__name__}`\n\n{prose(event)}\n\n{table(('field', ''), fields)}")
    return "\n".join(parts)


def error_types() -> list[type[ArgoError]]:
    """The public errors of the core and then of each plugin by its name, each after its base."""

    def below(cls: type[ArgoError]) -> Iterator[type[ArgoError]]:
        yield cls
        # Else in the order in which they were imported, which differs between processes.
        for child in sorted(cls.__subclasses__(), key=lambda one: one.__module__.partition(".")[0]):
            if child.__bases__[0] is cls:
                yield from below(child)

    modules = [argo_mw, *(__import__(f"argo_mw_{n}") for n in installed().names)]
    public = [getattr(m, n) for m in modules for n in getattr(m, "__all__", ())]
    return [cls for cls in below(ArgoError) if any(cls is one for one in public)]


def errors() -> str:
    """Every error, its base, and what it carries."""
    rows = []
    for cls in error_types():
        module = cls.__module__.partition(".")[0]
        name = cls.__name__ if module == "argo_mw" else f"{module}.{cls.__name__}"
        bases = ", ".join(f"`{b.__name__}`" for b in cls.__bases__)
        carries = " ".join(f"`{n}`: {text}" for n, text in own_attributes(cls).items())
        rows.append((f"`{name}`", bases, " ".join(prose(cls).split()), carries))
    return table(("error", "is a", "means", "carries"), rows)


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from walk(below, f"{path} {name}")


def commands() -> str:
    """Every command with its arguments and options."""
    parts = []
    for path, command in walk(cli, "argo-mw"):
        context = click.Context(command, info_name=path)
        usage = " ".join(piece for piece in command.collect_usage_pieces(context))
        text = inspect.cleandoc((command.help or "").replace("\b\n", ""))
        options = [
            (f"`{', '.join(p.opts + p.secondary_opts)}`", p.help or "")
            for p in command.params
            if isinstance(p, click.Option) and not p.hidden
        ]
        parts.append(f"## `{path}`\n\n```text\n{path} {usage}\n```\n\n{markdown(text)}\n")
        if options:
            parts.append(table(("option", ""), options))
    return "\n".join(parts)


def plugin_modules() -> str:
    """Every public name of every plugin, for mkdocstrings."""
    parts = []
    for name in installed().names:
        module = importlib.import_module(f"argo_mw_{name}")
        parts.append(f"## {module.__name__}\n")
        parts += [f"::: {module.__name__}.{one}\n" for one in getattr(module, "__all__", ())]
    return "\n".join(parts)


# Metrics


def code(names: Iterable[str]) -> str:
    """Names as code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def metrics(*, gen_ai: bool) -> str:
    """The metrics of the chain, or those of the conventions for generative AI."""
    rows = [
        (code([m.name]), code([m.sample]), _kind(m.kind, m.unit), m.description, code(m.attributes))
        for m in CATALOG
        if m.gen_ai == gen_ai
    ]
    return table(("metric", "in the Prometheus text", "kind", "", "attributes"), rows)


def _kind(kind: str, unit: str) -> str:
    return f"{kind}, {unit.strip('{}')}" if unit else kind


def plugin_gauges() -> dict[str, tuple[str, list[Gauge]]]:
    """The gauges of this repository's plugins with their plugin, by name."""
    # They read nothing before they are asked.
    redis = gauges_of_redis(cast("RedisShared", None), cast("TagVersions", None))
    made = {
        "metrics": own_gauges(cast("Tasks", None)),
        "cache": gauges_of_cache(lambda: None),
        "persist": gauges_of_persist(lambda: None),
        "redis": redis,
        "gateway": GatewayPlugin().register_gauges(),
        "http": HttpPlugin().register_gauges(),
    }
    found: dict[str, tuple[str, list[Gauge]]] = {}
    for plugin, gauges in made.items():
        for gauge in gauges:
            plugins, some = found.get(gauge.name, (plugin, []))
            known = plugins if plugin in plugins else f"{plugins}, {plugin}"
            found[gauge.name] = (known, [*some, gauge])
    return found


def gauges() -> str:
    """The gauges of this repository's plugins."""
    rows = [
        (
            code([name]),
            code([prometheus_name(name, some[0].unit)]),
            plugins,
            some[0].unit.strip("{}"),
            some[0].description,
            code(sorted({attribute for gauge in some for attribute in gauge.attributes})),
        )
        for name, (plugins, some) in sorted(plugin_gauges().items())
    ]
    return table(("gauge", "in the Prometheus text", "of", "unit", "", "attributes"), rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "core_configuration": lambda: configuration(core_tables(), "##"),
    "plugin_configuration": lambda: configuration(plugin_tables(), "###"),
    "flags": flags,
    "hooks": lambda: hook_pages(hook_specs(hooks)),
    "plugin_hooks": plugin_hooks,
    "events": events,
    "errors": errors,
    "commands": commands,
    "plugin_modules": plugin_modules,
    "metrics": lambda: metrics(gen_ai=False),
    "gen_ai_metrics": lambda: metrics(gen_ai=True),
    "gauges": gauges,
}


def rewritten(text: str) -> str:
    """A page with its generated blocks made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]]()}\n{m[4]}", text)


def main() -> None:
    """Write every page that has generated blocks."""
    for page in sorted(DOCS.glob("reference/**/*.md")):
        text = page.read_text("utf-8")
        page.write_text(rewritten(text), "utf-8")


if __name__ == "__main__":
    main()
