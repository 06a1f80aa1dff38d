"""``argo.toml`` from disk: found, read, filled in from the environment, checked."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from argo_mw.base.errors import ConfigError
from argo_mw.config.convert import structure
from argo_mw.config.settings import Settings

FILE = "argo.toml"
ENVIRONMENT = "ARGO_MW_CONFIG"
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def load(path: str | Path | None = None) -> Settings:
    """Return the settings in the file at *path*.

    Without a path: the file named by ``ARGO_MW_CONFIG``, else ``argo.toml`` in the working
    directory, else the defaults.

    Raises:
        ConfigError: The file cannot be read, or something in it cannot be used.
    """
    named = path or os.environ.get(ENVIRONMENT)
    file = Path(named or FILE)
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        if named:
            msg = f"there is no configuration file at {file}; create it, or name another"
            raise ConfigError(msg) from None
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"configuration file {file} cannot be read: {error}"
        raise ConfigError(msg) from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"configuration file {file} is not valid TOML: {error}"
        raise ConfigError(msg) from None
    return parse(table, source=str(file))


def parse(table: Mapping[str, object], *, source: str = "the given configuration") -> Settings:
    """Return settings from a table of the form of ``argo.toml``.

    Raises:
        ConfigError: A key is unknown or its value cannot be used, or a ``${VARIABLE}`` is not
            set.
    """
    if "source" in table:
        msg = f"{source}: unknown key 'source'"
        raise ConfigError(msg)
    filled = {key: _fill(value, key, source) for key, value in table.items()}
    settings = structure(filled, Settings, where=source)
    return _named(settings, source)


def _named(settings: Settings, source: str) -> Settings:
    return Settings(
        settings.argo,
        settings.flags,
        settings.operations,
        settings.upstreams,
        settings.plugins,
        source,
    )


def _fill(value: object, path: str, source: str) -> object:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _from_environment(match[1], path, source), value)
    if isinstance(value, list):
        return [_fill(v, f"{path}[{i}]", source) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {k: _fill(v, f"{path}.{k}", source) for k, v in value.items()}
    return value


def _from_environment(variable: str, path: str, source: str) -> str:
    try:
        return os.environ[variable]
    except KeyError:
        msg = (
            f"{source}: {path} takes its value from the environment variable {variable}, which "
            f"is not set; export {variable}=…, or write the value differently"
        )
        raise ConfigError(msg) from None
