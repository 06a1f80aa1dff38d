"""The overlay: flags set by command, kept beside the state, never in ``argo.toml``."""

from __future__ import annotations

import json
from pathlib import Path

from argo_mw.base.errors import ConfigError
from argo_mw.base.private_file import locked_file, replace_file
from argo_mw.flags.changes import Change
from argo_mw.flags.model import Rule
from argo_mw.flags.parse import dump_rule, parse_rule

FILE = "flags.json"


class Overlay:
    """Rules in a file of the state directory, shared by the processes of one machine."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FILE

    def read(self) -> dict[str, Rule]:
        """Return the rules that are set, by flag.

        Raises:
            ConfigError: The file is not what this class writes.
        """
        try:
            content = json.loads(self.path.read_text("utf-8-sig"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise self._unreadable(error) from None
        if not isinstance(content, dict):
            raise self._unreadable(TypeError("it holds no table"))
        return {name: parse_rule(name, rule) for name, rule in content.items()}

    def update(self, name: str, change: Change) -> Rule | None:
        """Set flag *name* to what *change* makes of its rule.

        Raises:
            ConfigError: The file cannot be read or written, or another program holds it.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked_file(self.path):
                rules = self.read()
                rule = change(rules.pop(name, None))
                if rule is not None:
                    rules[name] = rule
                replace_file(self.path, {n: dump_rule(r) for n, r in sorted(rules.items())})
        except OSError as error:
            msg = f"flags in {self.path} cannot be written: {error.strerror}; make it writable"
            raise ConfigError(msg) from error
        return rule

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(f"flags in {self.path} cannot be read: {error}; mend or delete the file")
