"""Embedding in batches: from text to vector, off the loop, in one thread for all callers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Final

from argo_mw.plugin import Clock, TimeLimitExceeded, fail_at
from argo_mw_similarity.search.embedders import Embedder, Vectors

_MAX_BATCH: Final = 32
_MAX_WAITING: Final = 1024
"""Texts that may wait; further ones get ``None`` at once."""
_MAX_REMEMBERED: Final = 2048


class EmbeddingBatcher:
    """An embedder in a thread of its own, shared by the layers of one application.

    A text that arrives while a batch is under way is in the next one. Vectors of recent texts are
    remembered. Each user opens and closes it: the first to open loads the model, the last to close
    ends the thread. So a changed configuration that names the same model does not load it again.

    Args:
        embedder: What embeds.
        clock: Ends the waiting.
    """

    def __init__(self, embedder: Embedder, clock: Clock) -> None:
        self.embedder = embedder
        self._clock = clock
        self._recent: OrderedDict[str, Vectors] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[Vectors]] = {}
        self._running: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._users = 0
        self._changing = asyncio.Lock()
        self.ready = False
        self.texts = 0
        self.batches = 0

    async def open(self) -> None:
        """Count one more user; load the model, off the loop, unless it is loaded.

        Raises:
            Exception: What the embedder raised. The user does not count then.
        """
        async with self._changing:
            if not self.ready:
                thread = ThreadPoolExecutor(1, thread_name_prefix="argo-mw-embedder")
                try:
                    await asyncio.get_running_loop().run_in_executor(thread, self.embedder.load)
                except asyncio.CancelledError:
                    # The load cannot be interrupted; its thread ends with it.
                    thread.shutdown(wait=False)
                    raise
                except BaseException:
                    await asyncio.to_thread(thread.shutdown)
                    raise
                self._thread = thread
                self.ready = True
            self._users += 1

    async def close(self) -> None:
        """Count one user less. After the last, give up what waits and end the thread."""
        async with self._changing:
            self._users -= 1
            if self._users > 0:
                return
            self.ready = False
            if self._running is not None:
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)
            for future in self._waiting.values():
                future.cancel()
            self._waiting.clear()
            self._recent.clear()
            thread, self._thread = self._thread, None
            if thread is not None:
                await asyncio.to_thread(thread.shutdown)

    async def embed(self, text: str, timeout: float) -> Vectors | None:
        """Return the vector of *text*, or ``None`` if that takes longer than *timeout* seconds."""
        known = self._recent.get(text)
        if known is not None:
            self._recent.move_to_end(text)
            return known
        future = self._waiting.get(text)
        if future is None:
            if not self.ready or len(self._waiting) >= _MAX_WAITING:
                return None
            future = self._enqueue(text)
        try:
            return await fail_at(_wait(future), self._clock.monotonic() + timeout, self._clock)
        except TimeLimitExceeded:
            return None

    def _enqueue(self, text: str) -> asyncio.Future[Vectors]:
        future: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        # All callers may have left when the batch fails: asyncio must not report it as unseen.
        future.add_done_callback(lambda f: f.cancelled() or f.exception())
        self._waiting[text] = future
        if self._running is None or self._running.done():
            # In no caller's context: it works for all of them.
            self._running = asyncio.create_task(
                self._work(), name="argo-mw:embed", context=Context()
            )
        return future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = list(self._waiting)[:_MAX_BATCH]
            try:
                vectors = await loop.run_in_executor(self._thread, self.embedder.embed, batch)
            except Exception as error:
                for text in batch:
                    _settle(self._waiting.pop(text), error)
                continue
            self.texts += len(batch)
            self.batches += 1
            for text, vector in zip(batch, vectors, strict=True):
                self._remember(text, vector)
                _settle(self._waiting.pop(text), vector)

    def _remember(self, text: str, vector: Vectors) -> None:
        self._recent[text] = vector
        if len(self._recent) > _MAX_REMEMBERED:
            self._recent.popitem(last=False)


async def _wait(future: asyncio.Future[Vectors]) -> Vectors:
    return await asyncio.shield(future)


def _settle(future: asyncio.Future[Vectors], result: Vectors | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
