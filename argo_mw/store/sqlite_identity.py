"""Whether the files that a SQLite connection has open are still those at its path.

A connection goes on working on files that were removed or replaced: what it commits there no other
connection sees, and the end of the process takes it away. The same holds for the write-ahead log
and its index, the database's companions, in which the latest commits are.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

File = tuple[int, int]
"""Device and inode; zeros where there is no file."""

_NOWHERE: Final = (0, 0)
_SETTLED: Final = 100_000_000
"""Nanoseconds after which a directory's time of change differs for each later change."""


class SqliteIdentity:
    """The database and its companions that were at *path* when that was last remembered.

    Args:
        path: The database's file.

    Attributes:
        files: The database and its companions, as remembered.
    """

    def __init__(self, path: Path) -> None:
        self.files: tuple[File, ...] = ()
        self._directory = str(path.parent)
        self._paths = (str(path), f"{path}-wal", f"{path}-shm")
        self._seen: tuple[int, int, int] | None = None

    @property
    def database(self) -> File:
        """The database's file alone, as remembered."""
        return self.files[0] if self.files else _NOWHERE

    def remember(self) -> None:
        """Remember the files that are at the path now.

        To be called by a connection that has read from the database, since the first read makes
        the companions.
        """
        self._seen = None
        self.files = self._found()

    def holds(self) -> bool:
        """Return whether all of the remembered files are still at the path.

        One system call, as long as no file of the directory came or went: each call lets other
        threads run, which a commit would have to wait for.
        """
        try:
            status = os.stat(self._directory)  # noqa: PTH116 - half the time of Path.stat
        except OSError:
            return False
        seen = (status.st_dev, status.st_ino, status.st_mtime_ns)
        if seen == self._seen:
            return True
        holds = self._found() == self.files
        # Changes that come close together may leave the same time.
        if holds and time.time_ns() - status.st_mtime_ns > _SETTLED:
            self._seen = seen
        return holds

    def database_holds(self) -> bool:
        """Return whether the database is still at the path, whatever became of its companions."""
        return file_at(self._paths[0]) == self.database

    def _found(self) -> tuple[File, ...]:
        return tuple([file_at(path) for path in self._paths])


def file_at(path: str | Path) -> File:
    """Return device and inode of the file at *path*."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return _NOWHERE
    return status.st_dev, status.st_ino
