"""The last known flags of the fleet, in a file, for while the store is away.

One file for each shared store, and one for all processes that share the state directory.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from argo_mw.base.errors import ConfigError
from argo_mw.flags.fleet import Fleet, dump_fleet, parse_fleet
from argo_mw.store.marks import store_name


class FleetFile:
    """The flags that the fleet around the store at *url* was last known to have."""

    def __init__(self, state_dir: Path, url: str) -> None:
        self.path = state_dir / f"fleet-flags-{store_name(url)}.json"

    def read(self) -> Fleet:
        """Return what is remembered; nothing where there is no file.

        Raises:
            ConfigError: The file is not what this class writes.
        """
        try:
            return parse_fleet(json.loads(self.path.read_text("utf-8")))
        except FileNotFoundError:
            return Fleet()
        except (OSError, ValueError, ConfigError) as error:
            msg = (
                f"the flags of the fleet in {self.path} cannot be read: {error}; they are read "
                "again from the shared store, and the file is replaced at the next change"
            )
            raise ConfigError(msg) from None

    def remember(self, fleet: Fleet) -> Fleet:
        """Remember *fleet*, merged with what others have remembered; return what is known by all.

        Raises:
            OSError: It cannot be written.
        """
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            kept = self._kept()
            known = fleet if kept is None else fleet.merged(kept)
            if known != kept:
                self._write(known)
            return known
        finally:
            os.close(descriptor)

    def _kept(self) -> Fleet | None:
        try:
            return self.read()
        except ConfigError:
            return None

    def _write(self, fleet: Fleet) -> None:
        fresh = self.path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dump_fleet(fleet), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
