"""The state directory: where an application keeps what outlives it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs

from argo_mw.base.errors import ConfigError
from argo_mw.config.settings import Settings

STATE_DIR: Final = "ARGO_MW_STATE_DIR"
"""The environment variable that names the state directory, over the configuration."""

_named: dict[str, Path] = {}
"""The directory that each value of the variable names, from where it was first looked at."""


def state_directory(settings: Settings) -> Path:
    """Return where an application with *settings* keeps its state; made private when it is made.

    It stays the same when the program changes its working directory.

    Raises:
        ConfigError: It cannot be made.
    """
    path = settings.argo.state_dir or platformdirs.user_state_path("argo-mw")
    if chosen := os.environ.get(STATE_DIR):
        path = _named.setdefault(chosen, Path(chosen).absolute())
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the state directory {path} cannot be made: {error}; set state_dir in [argo]"
        raise ConfigError(msg) from None
    return path
