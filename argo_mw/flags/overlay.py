"""The overlay: flags set by command, kept beside the state, never in ``argo.toml``."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from argo_mw.base.errors import ArgoError, ConfigError
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

    async def change(
        self, name: str, change: Change, take_up: Callable[[], Awaitable[None]]
    ) -> None:
        """Set flag *name* as :meth:`update` does, then await *take_up*, which applies it.

        Raises:
            ArgoError: It cannot be applied. The old rule is restored: no application could open
                with the new one.
        """
        before = (await asyncio.to_thread(self.read)).get(name)
        await asyncio.to_thread(self.update, name, change)
        try:
            await take_up()
        except ArgoError:
            await asyncio.to_thread(self.update, name, lambda _: before)
            raise

    def update(self, name: str, change: Change) -> Rule | None:
        """Set flag *name* to what *change* makes of its rule."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            rules = self.read()
            rule = change(rules.pop(name, None))
            if rule is not None:
                rules[name] = rule
            self._write(rules)
        return rule

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, rules: Mapping[str, Rule]) -> None:
        fresh = self.path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({n: dump_rule(r) for n, r in sorted(rules.items())}, file, indent=2)
        fresh.replace(self.path)

    def _unreadable(self, error: Exception) -> ConfigError:
        return ConfigError(f"flags in {self.path} cannot be read: {error}; mend or delete the file")
