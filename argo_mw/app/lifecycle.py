"""Lifecycle: plugins and their layers are started, replaced and stopped, each within a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import cast

from argo_mw.app.pipeline import Contributions, Pipeline
from argo_mw.base.cancellation import is_failure
from argo_mw.base.clock import Clock, Timer
from argo_mw.base.errors import Closed, PartlyFailed
from argo_mw.base.tasks import Tasks, started_by
from argo_mw.chain.context import Context
from argo_mw.model.layer import Closes, Layer, Opens, TakesOver
from argo_mw.registry import Plugins


class Lifecycle:
    """Starts and stops the plugins of one application, and opens and closes their layers.

    A plugin that fails at a step, or takes too long, is left out, and what it has started is ended.

    Args:
        plugins: The plugins.
        clock: Waits until the last call has left a layer that is not in use any more.
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
        self._retiring: dict[Layer, float] = {}
        self._ending: dict[str, float] = {}
        self._retirement: Timer | None = None
        self._context: Context | None = None
        self._successors: dict[Layer, Layer] = {}
        self._unopened: set[Layer] = set()
        self._closing = asyncio.Lock()

    async def start(self, name: str, one: Contributions, context: Context) -> None:
        """Start plugin *name* and open its layers."""
        self._context = context
        hook = self._plugins.call(name, "startup", config=one.config, context=context)
        if name in self._plugins.names and await self.run(name, "startup", hook):
            self._started.append(name)
            await self._open_layers(name, one.layers)

    async def replace(self, before: Pipeline, pipeline: Pipeline) -> None:
        """Open the layers of *pipeline* that are not in *before*, and hand over to them."""
        for name, one in pipeline.contributions.items():
            old = before.contributions.get(name)
            if old is one:
                continue
            if old is None or self._hand_over(name, old.layers, one.layers):
                await self._open_layers(name, one.layers)

    def retire(self, pipeline: Pipeline, seconds: float) -> None:
        """Close the open layers that are not in *pipeline*, after *seconds*.

        Plugins that were left out since they started are stopped then.

        Args:
            pipeline: What new calls go through.
            seconds: The time within which the calls under way end.
        """
        due = self._clock.monotonic() + seconds
        in_use = self._retiring.keys() | set(pipeline.layers)
        for layers in self._open.values():
            self._retiring |= {layer: due for layer in layers if layer not in in_use}
        self._ending = dict.fromkeys(self._left_out, due) | self._ending
        self._await_retirement()

    async def stop(self, context: Context) -> None:
        """Close every layer that is open and stop the plugins, in reverse order."""
        # The lock: what is being closed already is waited for, since tasks are cancelled next.
        if self._retirement is not None:
            self._retirement.cancel()
        async with self._closing, AsyncExitStack() as stack:
            for name in dict.fromkeys([*self._started, *self._open]):
                stack.push_async_callback(self._stop, name, context)

    async def end_left_out(self) -> None:
        """Stop the plugins that were left out since they started; no call is under way."""
        for name in reversed(self._left_out):
            await self._end(name)

    @property
    def _left_out(self) -> list[str]:
        return [name for name in self._started if name not in self._plugins.names]

    async def run(self, name: str, step: str, waiting: object | None) -> bool:
        """Await *waiting*, a step of plugin *name*; return whether it succeeded in time.

        A plugin that fails at a change of its configuration stays in use: its layers are part of
        the chain, and what it holds must be given back by its shutdown. So does one that has
        :class:`PartlyFailed`.
        """
        if waiting is None:
            return True
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                with started_by(name):
                    await cast("Awaitable[None]", waiting)
        except BaseException as error:
            if not is_failure(error):
                raise
            late = TimeoutError(f"it took longer than {self._timeout:g} s")
            keep = step == "config_changed" or isinstance(error, PartlyFailed)
            self._plugins.leave_out(name, step, late if limit.expired() else error, keep=keep)
            if not keep and name not in self._started:
                await self._tasks.end_started_by(name)
            return keep
        return True

    def _hand_over(self, name: str, old: Sequence[Layer], new: Sequence[Layer]) -> bool:
        """Let layers take over from those of the same name; return whether all could."""
        replaced = {layer.name: layer for layer in old}
        for layer in new:
            previous = replaced.get(layer.name)
            if previous in (None, layer) or not isinstance(layer.middleware, TakesOver):
                continue
            try:
                layer.middleware.take_over(previous.middleware)
            except Exception as error:
                self._plugins.leave_out(name, "take_over", error)
                return False
            self._successors[previous] = layer
            self._unopened.add(layer)
        return True

    async def _open_layers(self, name: str, layers: Iterable[Layer]) -> None:
        for layer in layers:
            self._retiring.pop(layer, None)
            if layer in self._open.get(name, ()):
                continue
            middleware = layer.middleware
            waiting = middleware.open() if isinstance(middleware, Opens) else None
            if not await self.run(name, "open", waiting):
                return
            self._open.setdefault(name, []).append(layer)
            self._unopened.discard(layer)

    def _await_retirement(self) -> None:
        """Wait for the layer that is due next, with one timer for all: reloads may be many."""
        if self._retirement is None and (self._retiring or self._ending):
            due = min((*self._retiring.values(), *self._ending.values()))
            self._retirement = self._clock.call_at(due, self._retire_due)

    def _retire_due(self) -> None:
        with suppress(Closed):
            self._tasks.spawn("retire-layers", self._close_due())

    async def _close_due(self) -> None:
        async with self._closing:
            now = self._clock.monotonic()
            due = [layer for layer, when in self._retiring.items() if when <= now]
            for layer in reversed(due):
                if layer in self._retiring:
                    await self._close(layer)
            for name in [name for name, when in self._ending.items() if when <= now]:
                await self._end(name)
        self._retirement = None
        self._await_retirement()

    async def _end(self, name: str) -> None:
        self._ending.pop(name, None)
        if name in self._started and self._context is not None:
            self._started.remove(name)
            await self._stop(name, self._context)
            await self._tasks.end_started_by(name)

    async def _stop(self, name: str, context: Context) -> None:
        for layer in reversed(self._open.get(name, [])):
            await self._close(layer)
        await self.run(name, "shutdown", self._plugins.end(name, context=context))

    async def _close(self, layer: Layer) -> None:
        """Close *layer*, or a successor that took over from it and was never opened."""
        self._open[layer.flag] = [one for one in self._open[layer.flag] if one is not layer]
        self._retiring.pop(layer, None)
        owner = self._successors.pop(layer, layer)
        if owner is not layer and owner not in self._unopened:
            return
        self._unopened.discard(owner)
        if isinstance(owner.middleware, Closes):
            await self.run(layer.flag, "close", owner.middleware.close())
