"""Following the configuration: what changes in its files is taken up by the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from attrs import evolve

from argo_mw.app.config_watcher import ConfigWatcher
from argo_mw.app.engine import Engine
from argo_mw.app.opening import read_settings
from argo_mw.base.errors import ArgoError
from argo_mw.base.log import Log
from argo_mw.base.tasks import Tasks
from argo_mw.config import Settings
from argo_mw.config.state_dir import state_directory
from argo_mw.flags.overlay import Overlay

log = Log("argo_mw")

Reload = Callable[[Settings], Awaitable[None]]


class ConfigFollower:
    """Reloads an application when its ``argo.toml`` or the flags set by command have changed.

    Flags are always followed: a layer that does harm must be switched off in programs, too, that
    take up their configuration when they choose to. Names of files are relative to the directory in
    which the application was made, also when the program changes to another one.

    Args:
        engine: Has the settings and the flags that are in use.
        reload: Takes up settings, and the flags as they are set now.
        rebuilding: Held while the application opens or reloads.
        tasks: Own what is under way.
    """

    def __init__(
        self, engine: Engine, reload: Reload, rebuilding: asyncio.Lock, tasks: Tasks
    ) -> None:
        self._engine = engine
        self._reload = reload
        self._rebuilding = rebuilding
        self._home = Path.cwd()
        self._watcher = ConfigWatcher(self._take_up, tasks)

    def start(self, settings: Settings) -> None:
        """Begin to follow the files of *settings*."""
        self._watcher.start(self._files(settings))

    def use(self, settings: Settings) -> None:
        """Follow the files of *settings* from now on."""
        self._watcher.files = self._files(settings)

    async def aclose(self) -> None:
        """Follow no more. Idempotent."""
        await self._watcher.aclose()

    async def _take_up(self) -> None:
        async with self._rebuilding:
            if not self._engine.is_open:  # what was opening has failed
                return
        settings = self._engine.pipeline.settings
        try:
            await self._reload_changed(self._read(settings))
        except ArgoError as error:
            self._watcher.refused(str(error))
            # A flag that was killed is off, whatever is wrong with the configuration.
            await self._reload_changed(settings)

    async def _reload_changed(self, settings: Settings) -> None:
        used = self._engine.pipeline
        overlay = Overlay(state_directory(settings)).read()
        if settings != used.settings or overlay != used.overlay:
            await self._reload(settings)
            log.info("the configuration was reloaded", source=settings.source)

    def _read(self, settings: Settings) -> Settings:
        """Return what the file of *settings* holds now; *settings*, if none is followed."""
        file = self._followed(settings)
        if file is None:
            return settings
        return evolve(read_settings(file, home=self._home), source=settings.source)

    def _followed(self, settings: Settings) -> Path | None:
        file = self._home / settings.source
        return file if settings.argo.watch and file.is_file() else None

    def _files(self, settings: Settings) -> tuple[Path, ...]:
        overlay = Overlay(state_directory(settings)).path
        source = self._followed(settings)
        return (overlay,) if source is None else (overlay, source)
