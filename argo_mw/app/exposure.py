"""Who else can change the files that an application trusts."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from argo_mw.config import Settings


def exposures(state_dir: Path, settings: Settings) -> dict[str, str]:
    """Return who else can change what an application with *settings* trusts, by what that is."""
    found = {
        "state directory": exposure(state_dir),
        "configuration": exposure_of_config(Path(settings.source)),
        "shared store": exposure_of_store(settings.argo.shared.reveal()),
    }
    return {where: what for where, what in found.items() if what}


def exposure(path: Path) -> str:
    """Return who else can change files in the state directory *path*, and what to do; or ""."""
    what = "flags, answers and what guards money"
    return _exposure(path, what, "state_dir in [argo]", stat.S_IWGRP | stat.S_IWOTH)


def exposure_of_store(url: str) -> str:
    """Return who else can change a store that is a file, by its *url*, and what to do; or ""."""
    parts = urlsplit(url)
    folder = Path(unquote(parts.path)[1:]).absolute().parent
    if parts.scheme != "sqlite" or not folder.is_dir():
        return ""
    # Not the group, which may be made for those that share the store.
    return _exposure(folder, "answers and what guards money", "shared in [argo]", stat.S_IWOTH)


def _exposure(folder: Path, kept: str, setting: str, modes: int) -> str:
    what = f"{kept} in {folder} can be changed by"
    if who := _owner(folder):
        return f"{what} {who}: name another one: {setting}"
    if _mode(folder) & modes:
        return f"{what} {_others(folder)}: run `chmod {_without(modes)} {folder}`"
    for above in folder.absolute().parents:
        # Where the sticky bit is set, as in /tmp, nobody moves what belongs to others.
        if _mode(above) & stat.S_IWOTH and not _mode(above) & stat.S_ISVTX:
            return f"{what} {_others(above)}, who can replace it: run `chmod o-w {above}`"
    for file in sorted(folder.iterdir()):
        if _mode(file) & stat.S_IWOTH and not file.is_symlink():
            return f"{what} {_others(file)}: run `chmod o-w {file}`"
    return ""


def _without(modes: int) -> str:
    return "go-w" if modes & stat.S_IWGRP else "o-w"


def exposure_of_config(file: Path) -> str:
    """Return who else can change the configuration *file*, and what to do; or ""."""
    if not file.is_file():
        return ""
    what = f"what is configured in {file}, such as where keys are sent, can be changed by"
    if who := _owner(file):
        return f"{what} {who}: make it a file of your own"
    # Not the group, which may well be the owner's own: files are made for it on many systems.
    if _mode(file) & stat.S_IWOTH:
        return f"{what} {_others(file)}: run `chmod o-w {file}`"
    return ""


def _owner(path: Path) -> str:
    """Return the owner of *path* in words, if that is neither this user nor root."""
    if os.name != "posix":
        return ""
    owner = path.stat().st_uid
    if owner in {os.getuid(), 0}:
        return ""
    return f"user {owner}, who owns it (mode {_mode(path):04o})"


def _others(path: Path) -> str:
    return f"other users of this machine (mode {_mode(path):04o})"


def _mode(path: Path) -> int:
    """Return the mode of *path*; 0 if it is gone, or modes mean nothing here."""
    with suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode) if os.name == "posix" else 0
    return 0
