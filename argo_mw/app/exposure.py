"""Who else can change the files that an application trusts."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def exposure(path: Path) -> str:
    """Return who else can change files in the state directory *path*, and what to do; or ""."""
    what = f"flags, answers and what guards money in {path} can be changed by"
    if who := _owner(path):
        return f"{what} {who}: name another one: state_dir in [argo]"
    if _mode(path) & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{what} {_others(path)}: run `chmod go-w {path}`"
    for above in path.absolute().parents:
        # Where the sticky bit is set, as in /tmp, nobody moves what belongs to others.
        if _mode(above) & stat.S_IWOTH and not _mode(above) & stat.S_ISVTX:
            return f"{what} {_others(above)}, who can replace it: run `chmod o-w {above}`"
    return ""


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
    return stat.S_IMODE(path.stat().st_mode) if os.name == "posix" else 0
