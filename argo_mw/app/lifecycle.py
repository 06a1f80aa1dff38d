"""Lifecycle: plugins and their layers are started, exchanged and stopped, each in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack
from typing import cast

from argo_mw.app.pipeline import Contributions, Pipeline
from argo_mw.base.clock import Clock
from argo_mw.base.tasks import Tasks
from argo_mw.chain.context import Context
from argo_mw.model.layer import Closes, Layer, Opens, TakesOver
from argo_mw.registry import Plugins


class Lifecycle:
    """Starts and stops the plugins of one application, and opens and closes their layers.

    A plugin that fails at it, or takes too long, is left out.

    Args:
        plugins: The plugins.
        clock: Waits until the last call has left a layer that was replaced.
        tasks: Owns that waiting.
        timeout: Seconds that a plugin may take for each step.
    """

    def __init__(self, plugins: Plugins, clock: Clock, tasks: Tasks, *, timeout: float) -> None:
        self._plugins = plugins
        self._clock = clock
        self._tasks = tasks
        self._timeout = timeout
        self._started: list[str] = []
        self._open: dict[str, list[Layer]] = {}
        self._taken_over: set[Layer] = set()

    async def start(self, name: str, one: Contributions, context: Context) -> None:
        """Start plugin *name* and open its layers."""
        hook = self._plugins.call(name, "startup", config=one.config, context=context)
        await self.run(name, "startup", hook)
        await self._open_layers(name, one.layers)
        if name in self._plugins.names:
            self._started.append(name)

    async def open_changed(self, before: Pipeline, pipeline: Pipeline) -> None:
        """Open the layers of *pipeline* that are not in *before*, and hand over to them."""
        for name, one in pipeline.contributions.items():
            replaced = before.contributions.get(name)
            if replaced is one:
                continue
            old = {layer.name: layer for layer in replaced.layers} if replaced is not None else {}
            for layer in one.layers:
                previous = old.get(layer.name)
                if previous is not None and isinstance(layer.middleware, TakesOver):
                    layer.middleware.take_over(previous.middleware)
                    self._taken_over.add(previous)
            await self._open_layers(name, one.layers)

    def retire(self, before: Pipeline, pipeline: Pipeline) -> None:
        """Close the layers of *before* that are not in *pipeline*, once no call is left in them.

        Every call ends within its operation's timeout.
        """
        current = set(pipeline.layers)
        retired = [layer for layer in before.layers if layer not in current]
        if retired:
            longest = max((o.timeout for o in before.operations.values()), default=0.0)
            self._tasks.spawn("retire-layers", self._close_later(retired, longest))

    async def stop(self, context: Context) -> None:
        """Close every layer that is open and stop the plugins, in reverse order."""
        async with AsyncExitStack() as stack:
            for name in dict.fromkeys([*self._open, *self._started]):
                stack.push_async_callback(self._stop, name, context)

    async def run(self, name: str, step: str, waiting: object | None) -> bool:
        """Await *waiting*, a step of plugin *name*; return whether it succeeded in time."""
        if waiting is None:
            return True
        try:
            async with asyncio.timeout(self._timeout):
                await cast("Awaitable[None]", waiting)
        except TimeoutError:
            late = TimeoutError(f"it took longer than {self._timeout:g} s")
            self._plugins.leave_out(name, step, late)
        except Exception as error:
            self._plugins.leave_out(name, step, error)
        else:
            return True
        return False

    async def _stop(self, name: str, context: Context) -> None:
        await self._close(name, self._open.get(name, ()))
        await self.run(name, "shutdown", self._plugins.call(name, "shutdown", context=context))

    async def _open_layers(self, name: str, layers: Iterable[Layer]) -> None:
        for layer in layers:
            opened = self._open.setdefault(name, [])
            if layer in opened:
                continue
            middleware = layer.middleware
            waiting = middleware.open() if isinstance(middleware, Opens) else None
            if not await self.run(name, "open", waiting):
                return
            opened.append(layer)

    async def _close_later(self, retired: Iterable[Layer], seconds: float) -> None:
        await self._clock.sleep(seconds)
        for layer in retired:
            await self._close(layer.flag, [layer])

    async def _close(self, name: str, layers: Iterable[Layer]) -> None:
        for layer in reversed(list(layers)):
            self._open[name].remove(layer)
            middleware = layer.middleware
            if layer in self._taken_over:
                self._taken_over.discard(layer)
            elif isinstance(middleware, Closes):
                await self.run(name, "close", middleware.close())
