"""Writing a distribution: names made from one name, templates filled in, files written once."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from attrs import frozen

from argo_mw.base.errors import ConfigError
from argo_mw.cli.authoring.kinds import KINDS, Kind
from argo_mw.registry.discovery import discover

__all__ = ["KINDS", "Distribution", "Kind", "write"]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 32


@frozen
class Distribution:
    """What was written.

    Attributes:
        name: The plugin's name: of its entry points, flag, table and metric label.
        path: The folder.
        files: The files in it, relative to it.
    """

    name: str
    path: Path
    files: tuple[Path, ...]


def write(name: str, kind: str, into: Path) -> Distribution:
    """Write a new plugin called *name* into a new folder of *into*.

    Args:
        name: Lower-case words joined by ``_`` or ``-``.
        kind: One of :data:`KINDS`.
        into: Where the folder ``argo-mw-NAME`` is made.

    Raises:
        ConfigError: The name cannot be used or is taken, or the folder is there already.
    """
    name = name.replace("-", "_")
    _check(name, kind)
    names = _names(name, KINDS[kind])
    path = into / names["distribution"]
    if path.exists():
        msg = f"{path} is there already, and nothing is overwritten; move it, or choose a name"
        raise ConfigError(msg)
    contents = dict(_filled(kind, names))
    for place, content in contents.items():
        file = path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    return Distribution(name, path, tuple(contents))


def _check(name: str, kind: str) -> None:
    if kind not in KINDS:
        msg = f"there is no kind of plugin called {kind!r}; known are {', '.join(KINDS)}"
        raise ConfigError(msg)
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        msg = f"{name!r} cannot name a plugin: use lower-case words joined by _, as in 'slow_log'"
        raise ConfigError(msg)
    if len(name) > _LONGEST:
        msg = f"{name!r} is {len(name)} letters long; a plugin's name has {_LONGEST} at most"
        raise ConfigError(msg)
    for found in discover():
        if found.name == name:
            msg = f"the name {name!r} is taken by the plugin from {found.distribution}"
            raise ConfigError(msg + "; choose another, or uninstall that one")


def _names(name: str, kind: Kind) -> Mapping[str, str]:
    dashed = name.replace("_", "-")
    names = {
        "name": name,
        "dashed": dashed,
        "upper": name.upper(),
        "distribution": f"argo-mw-{dashed}",
        "package": f"argo_mw_{name}",
        "summary": kind.summary,
        "object": kind.object,
        "dependencies": _quoted(sorted(("argo-mw", "attrs>=25.1", *kind.dependencies))),
    }
    exports = sorted(kind.exports)
    return names | {
        "exports": ", ".join(exports),
        "quoted_exports": _quoted(exports),
        "usage": Template(kind.usage).substitute(names),
    }


def _quoted(words: list[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _filled(kind: str, names: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    package = names["package"]
    places = {
        "common/pyproject.toml": "pyproject.toml",
        "common/README.md": "README.md",
        "common/ci.yml": ".github/workflows/ci.yml",
        "common/__init__.py": f"{package}/__init__.py",
        "common/conftest.py": "tests/conftest.py",
        f"{kind}/plugin.py": f"{package}/plugin.py",
        f"{kind}/test_plugin.py": f"tests/test_{names['name']}.py",
    }
    templates = files("argo_mw.cli.authoring") / "templates"
    for template, place in places.items():
        text = (templates / f"{template}.tmpl").read_text("utf-8")
        yield Path(place), Template(text).substitute(names)
    yield Path(package) / "py.typed", ""
