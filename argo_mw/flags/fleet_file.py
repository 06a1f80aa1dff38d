"""The last known flags of the fleet, in a file, for while the store is away.

One file for each shared store, and one for all processes that share the state directory.
"""

from __future__ import annotations

import json
from pathlib import Path

from argo_mw.base.errors import ConfigError
from argo_mw.base.private_file import locked_file, replace_file
from argo_mw.flags.fleet import Fleet, dump_fleet, parse_fleet
from argo_mw.store.epochs.marks import store_name


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
        except (OSError, ValueError, RecursionError, ConfigError) as error:
            msg = (
                f"the flags of the fleet in {self.path} cannot be read: {error}; they are read "
                "again from the shared store, and the file is replaced at the next change"
            )
            raise ConfigError(msg) from None

    def remember(self, fleet: Fleet) -> Fleet:
        """Remember *fleet*, merged with what others have remembered; return what is known by all.

        Raises:
            OSError: It cannot be written.
            ConfigError: Another program does not let go of it.
        """
        with locked_file(self.path):
            kept = self._kept()
            known = fleet if kept is None else fleet.merged(kept)
            if known != kept:
                replace_file(self.path, dump_fleet(known))
            return known

    def _kept(self) -> Fleet | None:
        try:
            return self.read()
        except ConfigError:
            return None
