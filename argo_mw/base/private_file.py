"""Files of the state directory that several processes change: locked, replaced, and private."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from argo_mw.base.errors import ConfigError

PATIENCE: Final = 5.0
"""Seconds to wait for another program that changes the file: it takes a millisecond."""


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file at *path* during the block.

    Raises:
        ConfigError: Another process does not release it.
        OSError: It cannot be locked.
    """
    lock = path.with_suffix(".lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _lock(descriptor, lock)
        yield
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: object) -> None:
    """Replace the file at *path* with *content* as JSON, atomically and durably.

    Raises:
        OSError: It cannot be written.
    """
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _lock(descriptor: int, lock: Path) -> None:
    """Lock *descriptor*, without waiting for ever: the process that holds it may be suspended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                msg = f"another program holds {lock}: `fuser {lock}` names it, end it"
                raise ConfigError(msg) from None
            time.sleep(0.01)
        else:
            return
