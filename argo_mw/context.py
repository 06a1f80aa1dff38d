"""The context: what the framework gives to plugins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from argo_mw.call import Call
from argo_mw.clock import Clock
from argo_mw.codec import Codecs
from argo_mw.events import Events, Trouble
from argo_mw.flags import Decision
from argo_mw.flags.sources import unknown_flag
from argo_mw.log import Log
from argo_mw.outcome import Outcome
from argo_mw.shared.protocol import Shared
from argo_mw.stamps import Stamps
from argo_mw.tasks import Tasks
from argo_mw.upstream import Upstream

if TYPE_CHECKING:
    from argo_mw.engine import Engine

log = Log("argo_mw")

_MOST_TROUBLES = 1000


class Context:
    """What plugins may use; one for the life of an application.

    Attributes:
        clock: The time.
        shared: The store that instances share.
        stamps: The stamps of tags, for those who keep answers.
        codecs: Values to bytes and back.
        events: What happened; ask ``if context.events:`` before building an event.
        tasks: Owner of background tasks, which it ends at shutdown.
        alone: Whether no other instance can share the store, so that nothing is gained by
            telling others.
        state_dir: A private directory for files of the plugin's own.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        shared: Shared,
        stamps: Stamps,
        codecs: Codecs,
        events: Events,
        tasks: Tasks,
        state_dir: Path,
        engine: Engine,
        alone: bool = False,
    ) -> None:
        self.clock = clock
        self.shared = shared
        self.stamps = stamps
        self.codecs = codecs
        self.events = events
        self.tasks = tasks
        self.state_dir = state_dir
        self.alone = alone
        self._engine = engine
        self._troubles: set[tuple[str, str]] = set()

    async def call(self, parent: Call, operation: str, /, **parameters: object) -> Outcome:
        """Ask *operation* with *parameters* on behalf of *parent*, in its tenant and deadline.

        What the answer depends on is inherited by the parent's own.

        Raises:
            CallCycle: *parent* or one of its ancestors is this very question.
            ArgoError: As :meth:`argo_mw.Argo.outcome`.
        """
        return await self._engine.nested(parent, operation, parameters)

    async def map(
        self, parent: Call, operation: str, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """Ask *operation* about many subjects on behalf of *parent*; see :meth:`call`."""
        return await self._engine.map(
            operation, subjects, parameters, lambda one: self._engine.nested(parent, operation, one)
        )

    async def further(self, call: Call) -> None:
        """Charge the quotas of *call*'s upstream with one more request, and announce it.

        For upstreams whose answer takes several requests, such as pages: to be awaited before
        each but the first, which the framework has charged.

        Raises:
            Refusal: A quota is used up, so the answer cannot be completed.
        """
        assert call.upstream is not None, "only a call that is bound to an upstream is being sent"
        await self._engine.build.posts[call.upstream].attempts.further(call)

    def refresh(self, call: Call) -> asyncio.Task[Outcome] | None:
        """Ask *call* again in the background, past the caches' lookup, unless that is under way.

        The task belongs to the application; wait for it with :func:`asyncio.shield`. ``None``
        when too many are under way.
        """
        return self._engine.refresh(call)

    async def invalidate(self, tags: Iterable[str]) -> None:
        """Count every kept answer with one of *tags* as gone, in every instance."""
        await self.stamps.invalidate(tags)

    async def expire(self, tags: Iterable[str]) -> None:
        """Count every kept answer with one of *tags* as stale, in every instance."""
        await self.stamps.expire(tags)

    def upstreams(self, call: Call) -> Sequence[Upstream]:
        """The upstreams that may answer *call* now, in their configured order."""
        return self._engine.build.upstreams_for(call)

    def flag(self, name: str, call: Call) -> Decision:
        """What flag *name*, one of those that the plugin registers, says about *call* now.

        Raises:
            ConfigError: There is no such flag.
        """
        flags = self._engine.build.flags
        if name not in flags:
            raise unknown_flag(name, flags, where="a plugin", does="asks")
        return flags[name].decide(call)

    def collect(self, hook: str, **arguments: object) -> dict[str, object]:
        """What every plugin answers to *hook*, a hook of some plugin's own, by plugin name.

        *arguments* are those that the hook declares, by name.
        """
        return self._engine.plugins.collect(hook, **arguments)

    def trouble(self, where: str, what: str) -> None:
        """Say once that *what* is wrong at *where*, in the log and as an event."""
        if (where, what) in self._troubles:
            return
        if len(self._troubles) >= _MOST_TROUBLES:
            self._troubles.clear()
        self._troubles.add((where, what))
        log.warning(what, where=where)
        if self.events:
            self.events.emit(Trouble(where, what))
