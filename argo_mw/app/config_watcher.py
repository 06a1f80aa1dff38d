"""Hot reload: changed files are noticed while the application runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from argo_mw.base.errors import Closed
from argo_mw.base.log import Log
from argo_mw.base.tasks import Tasks

INTERVAL = 0.125
"""Seconds between two looks at the files; what both find is taken up."""

RETRY = 1.0
"""Seconds after which a change that could not be taken up is tried again."""

_MAX_END = 1.0
"""Seconds to wait at most for a look that is under way: a network drive may hang."""

log = Log("argo_mw")

TakeUp = Callable[[], Awaitable[None]]

_Looked = dict[Path, bytes | None]
"""A digest of what each file holds; ``None`` where it cannot be read."""


class ConfigWatcher:
    """Looks at files from a thread of its own, and has changes taken up on the loop.

    The thread is its own because a pool's may all be busy, most likely just when a flag is to be
    killed. Contents are compared: times of files are coarse, and say little on network drives. A
    change is taken up when two looks have found the same: the beginning of a file that is being
    written may be valid too, and lack the limits that follow.

    Args:
        take_up: Takes up what has changed. Not awaited again before it has ended.
        tasks: Own that.

    Attributes:
        files: What is looked at; files that do not exist are looked for.
    """

    def __init__(self, take_up: TakeUp, tasks: Tasks) -> None:
        self.files: tuple[Path, ...] = ()
        self._take_up = take_up
        self._tasks = tasks
        self._known: _Looked = {}
        self._stopped = threading.Event()
        self._ended: asyncio.Future[None] | None = None
        self._taking_up: asyncio.Task[None] | None = None
        self._changed_again = False
        self._again_at: float | None = None
        self._said: set[str] = set()

    def start(self, files: Iterable[Path]) -> None:
        """Begin to look for changes of *files* as they are now."""
        self.files = tuple(files)
        self._known = self._look()
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        watch = threading.Thread(
            target=self._watch, args=(loop,), name="argo-mw:watch", daemon=True
        )
        watch.start()

    async def aclose(self) -> None:
        """Look no more, and wait for the end of the thread. Idempotent."""
        self._stopped.set()
        if self._ended is not None:
            await asyncio.wait([self._ended], timeout=_MAX_END)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        looked = self._known
        # A loop that is closed before the application takes no more calls.
        with suppress(RuntimeError):
            while not self._stopped.wait(INTERVAL):
                before, looked = looked, self._look()
                found = {file: self._settled(file, before, looked) for file in looked}
                again = self._again_at
                if found != self._known or (again is not None and time.monotonic() >= again):
                    self._known, self._again_at = found, None
                    loop.call_soon_threadsafe(self._changed)
            loop.call_soon_threadsafe(self._end)

    def _look(self) -> _Looked:
        return {file: _digest(file) for file in self.files}

    def _settled(self, file: Path, before: _Looked, now: _Looked) -> bytes | None:
        """Return the digest of *file*; the one that is known, while it changes."""
        return now[file] if before.get(file) == now[file] else self._known.get(file)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _changed(self) -> None:
        self._changed_again = True
        if self._taking_up is None or self._taking_up.done():
            with suppress(Closed):
                self._taking_up = self._tasks.spawn("reload", self._take_up_changes())

    async def _take_up_changes(self) -> None:
        while self._changed_again:
            self._changed_again = False
            try:
                await self._take_up()
            except Exception as error:
                # It may be for a moment only: that files could not be opened, or a server is away.
                self._again_at = time.monotonic() + RETRY
                self.refused(str(error))
            else:
                self._said.clear()

    def refused(self, why: str) -> None:
        """Log that a change cannot be taken up, unless that was said already."""
        if why not in self._said:
            self._said.add(why)
            log.warning("the new configuration is refused, and the old one stays", error=why)


def _digest(file: Path) -> bytes | None:
    """Return a digest of what *file* holds; ``None`` where it cannot be read."""
    try:
        return blake2b(file.read_bytes(), digest_size=16).digest()
    except OSError:
        return None
