"""``argo.toml`` from disk: found, read, filled in from the environment, checked."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from attrs import evolve

from argo_mw.base.errors import ConfigError, without_frames
from argo_mw.config.convert import described, structure
from argo_mw.config.settings import Settings
from argo_mw.config.written import fill_in, read_out

P = ParamSpec("P")
R = TypeVar("R")

FILE = "argo.toml"
ENVIRONMENT = "ARGO_MW_CONFIG"


def _without_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Let no error of *function* carry the frames that hold the configuration as written."""

    @wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except ConfigError as error:
            del arguments, named
            raise without_frames(error) from None

    return call


@_without_frames
def load(path: str | Path | None = None, *, home: Path | None = None) -> Settings:
    """Return the settings in the file at *path*.

    Without a path: the file named by ``ARGO_MW_CONFIG``, else ``argo.toml`` in the working
    directory, else the defaults.

    Args:
        path: The file.
        home: The directory that a relative ``state_dir`` is in; by default the working directory.

    Raises:
        ConfigError: The file cannot be read, or something in it cannot be used.
    """
    found = _read(path)
    return Settings() if found is None else parse(found[1], source=found[0], home=home)


@_without_frames
def load_state_dir(path: str | Path | None = None) -> Settings:
    """Return the settings in the file at *path*, of which only ``state_dir`` is read.

    For what must be done whatever else is wrong with the file.

    Raises:
        ConfigError: The file cannot be read, or its ``state_dir`` cannot be used.
    """
    found = _read(path)
    if found is None:
        return Settings()
    source, table = found
    argo = table.get("argo")
    known = argo.items() if isinstance(argo, Mapping) else ()
    return parse({"argo": {k: v for k, v in known if k == "state_dir"}}, source=source)


def _read(path: str | Path | None) -> tuple[str, Mapping[str, object]] | None:
    """Return the file's name and its table, or ``None`` where there is none."""
    named = path or os.environ.get(ENVIRONMENT)
    file = Path(named or FILE)
    try:
        text = file.read_text("utf-8-sig")  # editors of Windows put a mark in front
    except FileNotFoundError:
        if named:
            msg = f"there is no configuration file at {file}; create it, or name another"
            raise ConfigError(msg) from None
        return None
    except UnicodeDecodeError as error:
        msg = (
            f"configuration file {file} cannot be read: it is not UTF-8 ({error}); save it as UTF-8"
        )
        raise ConfigError(msg) from None
    except OSError as error:
        msg = f"configuration file {file} cannot be read: {error}"
        raise ConfigError(msg) from None
    try:
        return str(file), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"configuration file {file} is not valid TOML: {error}"
        raise ConfigError(msg) from None
    except RecursionError:
        msg = f"configuration file {file} is nested too deeply"
        raise ConfigError(msg) from None


@_without_frames
def parse(
    table: Mapping[str, object],
    *,
    source: str = "the given configuration",
    home: Path | None = None,
) -> Settings:
    """Return settings from a table of the form of ``argo.toml``.

    Args:
        table: The table.
        source: Where it was read from, for errors.
        home: The directory that a relative ``state_dir`` is in; by default the working directory.

    Raises:
        ConfigError: A key is unknown or its value cannot be used, or a ``${VARIABLE}`` is not
            set.
    """
    if "source" in table:
        msg = f"{source}: unknown key 'source'"
        raise ConfigError(msg)
    written = {key: fill_in(value, key, source) for key, value in table.items()}
    plugins = _plugin_tables(written.pop("plugins", {}), source)
    flags = read_out(written.pop("flags", {}))
    if not isinstance(flags, Mapping):
        msg = f"{source}: flags: expected a table, got {described(flags)}"
        raise ConfigError(msg)
    settings = structure(written, Settings, where=source)
    argo = settings.argo
    if argo.state_dir is not None:  # wherever the program changes its directory to later
        argo = evolve(argo, state_dir=(home or Path.cwd()) / argo.state_dir)
    return evolve(settings, argo=argo, flags=flags, plugins=plugins, source=source)


def _plugin_tables(written: object, source: str) -> Mapping[str, Mapping[str, object]]:
    """Return the plugins' tables, whose texts their own classes read out."""
    tables = {"plugins": written}
    if isinstance(written, Mapping):
        tables |= {f"plugins.{name}": table for name, table in written.items()}
    for where, table in tables.items():
        if not isinstance(table, Mapping):
            msg = f"{source}: {where}: expected a table, got {described(table)}"
            raise ConfigError(msg)
    return cast("Mapping[str, Mapping[str, object]]", written)
