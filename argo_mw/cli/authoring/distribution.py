"""Writing a distribution: names made from one name, templates filled in, files written once."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from attrs import frozen

from argo_mw.base.errors import ConfigError
from argo_mw.base.suggest import suggest
from argo_mw.registry import PluginTemplate
from argo_mw.registry.discovery import COMMANDS, FLAGS, NO_FLAGS, OWN_FLAG, discover

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_MAX_LENGTH = 32
_COMMANDS = f'[project.entry-points."{COMMANDS}"]\n'
_FLAGS = f'[project.entry-points."{FLAGS}"]\n'


@frozen
class Distribution:
    """A distribution that was written.

    Attributes:
        name: The plugin's name: of its entry points, flag, table and metric label.
        path: The folder.
        files: The files in it, relative to it.
    """

    name: str
    path: Path
    files: tuple[Path, ...]


def write(name: str, kind: str, into: Path, kinds: Mapping[str, PluginTemplate]) -> Distribution:
    """Write a new plugin called *name* into a new folder of *into*.

    Args:
        name: Lower-case words joined by ``_`` or ``-``.
        kind: One of *kinds*.
        into: Where the folder ``argo-mw-NAME`` is made.
        kinds: The templates that there are.

    Raises:
        ConfigError: The kind is unknown, the name cannot be used or is taken, or the folder
            exists.
    """
    name = name.replace("-", "_")
    if kind not in kinds:
        msg = f"there is no kind of plugin called {kind!r}: {suggest(kind, kinds)}"
        raise ConfigError(msg)
    _check(name)
    template = kinds[kind]
    names = _names(name, template)
    path = into / names["distribution"]
    if path.exists():
        msg = f"{path} exists, and nothing is overwritten; move it, or choose another name"
        raise ConfigError(msg)
    contents = dict(_filled(template, names))
    for place, content in contents.items():
        file = path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    return Distribution(name, path, tuple(contents))


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        msg = f"{name!r} cannot name a plugin: use lower-case words joined by _, as in 'slow_log'"
        raise ConfigError(msg)
    if len(name) > _MAX_LENGTH:
        msg = f"{name!r} is {len(name)} letters long; a plugin's name has {_MAX_LENGTH} at most"
        raise ConfigError(msg)
    for found in discover():
        if found.name == name:
            msg = f"the name {name!r} is taken by the plugin from {found.distribution}"
            raise ConfigError(msg + "; choose another, or uninstall that one")


def _names(name: str, template: PluginTemplate) -> Mapping[str, str]:
    dashed = name.replace("_", "-")
    names = {
        "name": name,
        "dashed": dashed,
        "upper": name.upper(),
        "distribution": f"argo-mw-{dashed}",
        "package": f"argo_mw_{name}",
        "summary": template.summary,
        "dependencies": _quoted(sorted((_core(), "attrs>=25.1", *template.dependencies))),
    }
    exports = sorted(template.exports)
    return names | {
        "exports": ", ".join(exports),
        "quoted_exports": _quoted(exports),
        "config": Template(template.config).substitute(names),
        "usage": Template(template.usage).substitute(names),
        "commands": _COMMANDS + Template(template.commands).substitute(names) + "\n\n"
        if template.commands
        else "",
        "flags": _declared_flags(template, names),
        "quoted_flags": _quoted(_flags(template, names)),
    }


def _core() -> str:
    """Name the core, bound to the minor version that is installed: the next may change hooks."""
    major, minor = version("argo-mw").split(".")[:2]
    return f"argo-mw>={major}.{minor},<{major}.{int(minor) + 1}"


def _flags(template: PluginTemplate, names: Mapping[str, str]) -> list[str]:
    return [Template(flag).substitute(names) for flag in template.flags or ()]


def _declared_flags(template: PluginTemplate, names: Mapping[str, str]) -> str:
    """Return the lines of the project that say what knows the plugin's flags."""
    if template.flags is None:
        return ""
    knowing = OWN_FLAG if template.flags else NO_FLAGS
    if _has_other_flags(template):
        knowing = f"{names['package']}.flags:flags"
    return f'{_FLAGS}{names["name"]} = "{knowing}"\n\n'


def _has_other_flags(template: PluginTemplate) -> bool:
    """Return whether a plugin of *template* has others than the flag of its layer."""
    return template.flags not in (None, (), ("$name",))


def _quoted(words: list[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _filled(template: PluginTemplate, names: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    package = names["package"]
    common = files("argo_mw.cli.authoring") / "templates" / "common"
    sources = {
        "pyproject.toml": common / "pyproject.toml.tmpl",
        "README.md": common / "README.md.tmpl",
        ".github/workflows/ci.yml": common / "ci.yml.tmpl",
        f"{package}/__init__.py": common / "__init__.py.tmpl",
        "tests/conftest.py": common / "conftest.py.tmpl",
        f"{package}/plugin.py": template.folder / "plugin.py.tmpl",
        f"tests/test_{names['name']}.py": template.folder / "test_plugin.py.tmpl",
    }
    if _has_other_flags(template):
        sources[f"{package}/flags.py"] = common / "flags.py.tmpl"
    for place, source in sources.items():
        yield Path(place), Template(source.read_text("utf-8")).substitute(names)
    yield Path(package) / "py.typed", ""
