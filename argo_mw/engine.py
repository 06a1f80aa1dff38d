"""The engine: asks questions of the current build, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from argo_mw.build import Build
from argo_mw.call import Call
from argo_mw.chain.compose import Chain, Variant
from argo_mw.chain.deadline import Expired, within
from argo_mw.chain.isolation import not_an_outcome
from argo_mw.clock import Clock
from argo_mw.errors import ArgoError, BadParameter, CallCycle, Closed, DeadlineExceeded
from argo_mw.events import CallEnded, Events, Reconfigured
from argo_mw.extensions import LINEAGE, REFRESH
from argo_mw.flags.parse import format_rule
from argo_mw.operation import Parameters
from argo_mw.outcome import Outcome
from argo_mw.registry import Plugins
from argo_mw.tasks import Tasks

MAP_CONCURRENCY = 1_000
"""Calls of one ``map`` under way at once."""

_MOST_REFRESHES = 256


class Engine:
    """Runs calls through the chains of the current build.

    Attributes:
        plugins: The plugins in use.
        clock: The time.
        events: What happened.
        tasks: The background tasks.
    """

    def __init__(self, plugins: Plugins, clock: Clock, events: Events, tasks: Tasks) -> None:
        self.plugins = plugins
        self.clock = clock
        self.events = events
        self.tasks = tasks
        self._build: Build | None = None
        self._refreshing: dict[str, asyncio.Task[Outcome]] = {}

    @property
    def build(self) -> Build:
        """The current build.

        Raises:
            Closed: The application is not open.
        """
        if self._build is None:
            msg = "the application is not open; use it inside `async with Argo.open(...)`"
            raise Closed(msg)
        return self._build

    def use(self, build: Build, reason: str) -> None:
        """Let new calls go through *build*; calls under way finish on the old one."""
        self._build = build
        if self.events.active:
            flags = tuple((name, format_rule(f.rule)) for name, f in build.flags.items())
            self.events.emit(Reconfigured(reason, flags))

    def close(self) -> None:
        """Take no more calls."""
        self._build = None

    def peek(self, call: Call, variant: Variant) -> Outcome | None:
        """An answer that needs no waiting, or ``None``."""
        assert variant.peek is not None
        try:
            outcome = variant.peek(call)
        except ArgoError:
            raise
        except Exception:
            self._blame(call, variant)
            return None
        if outcome is None:
            return None
        if type(outcome) is not Outcome:
            self._blame(call, variant)
            return None
        if self.events.calls:
            self.events.emit(CallEnded(call, 0.0, outcome, peeked=True, arms=variant.arms))
        return outcome

    def _blame(self, call: Call, variant: Variant) -> None:
        """Report the layer whose peek failed; to know it beforehand would cost every peek."""
        for layer in variant.peekers:
            assert layer.peek is not None
            try:
                outcome = layer.peek(call)
            except ArgoError:
                continue
            except Exception as error:
                variant.report(layer, call, error)
            else:
                if outcome is not None and type(outcome) is not Outcome:
                    variant.report(layer, call, not_an_outcome(layer, outcome))

    async def run(self, call: Call, variant: Variant, timeout: float) -> Outcome:
        """The answer to *call* through *variant*, within *timeout* seconds.

        Raises:
            DeadlineExceeded: It did not come in time.
            ArgoError: What the chain raised.
        """
        started = self.clock.monotonic()
        deadline = _earlier(started + timeout, call.deadline)
        try:
            outcome = await self._look(call, variant, deadline) if variant.lookups else None
            if outcome is None:
                outcome = await self._enter(call, variant, deadline)
        except Expired:
            late = self._too_late(call, started)
            self._ended(call, variant, started, error=late)
            raise late from None
        except BaseException as error:
            self._ended(call, variant, started, error=error)
            raise
        if self.events.calls:
            self._ended(call, variant, started, outcome=outcome)
        return outcome

    async def _look(self, call: Call, variant: Variant, deadline: float) -> Outcome | None:
        """What the first of the lookups finds; those that fail by their own fault find nothing."""
        for layer, look in variant.lookups:
            try:
                waiting = look(call)
                if waiting is None:
                    continue
                if self.clock.monotonic() + layer.lookup_timeout < deadline:
                    outcome = await waiting
                else:
                    outcome = await within(waiting, deadline, self.clock)
            except (ArgoError, Expired):
                raise
            except Exception as error:
                variant.report(layer, call, error)
                continue
            if type(outcome) is Outcome:
                return outcome
            if outcome is not None:
                variant.report(layer, call, not_an_outcome(layer, outcome))
        return None

    def _enter(self, call: Call, variant: Variant, deadline: float) -> Awaitable[Outcome]:
        if variant.only is not None:
            return variant.run(call.bind_until(variant.only, deadline))
        return within(variant.run(call.until(deadline)), deadline, self.clock)

    async def nested(self, parent: Call, operation: str, parameters: Parameters) -> Outcome:
        """The answer to a question that *parent* depends on."""
        call, chain = self.build.questions.ask(operation, parent.tenant, parameters)
        if call.key == parent.key or call.key in parent.ancestors:
            msg = f"{operation} {call.subject} asks for itself, through {parent.operation.name}"
            raise CallCycle(msg)
        call = call.descend(parent).until(parent.deadline)
        outcome = await self.answer(call, chain, call.operation.timeout)
        lineage = parent.extensions.get(LINEAGE)
        if lineage is not None:
            lineage.outcomes.append(outcome)  # type: ignore[attr-defined]
        return outcome

    async def answer(self, call: Call, chain: Chain, timeout: float) -> Outcome:
        """The answer to *call*: at once where one is at hand, else through the chain."""
        variant = chain.settled or chain.variant(call)
        if variant.peek is not None:
            outcome = self.peek(call, variant)
            if outcome is not None:
                return outcome
        return await self.run(call, variant, timeout)

    async def map(
        self,
        operation: str,
        subjects: Iterable[str],
        parameters: Parameters,
        ask: Callable[[Parameters], Awaitable[Outcome]],
    ) -> dict[str, Outcome | Exception]:
        """The answer or the error for each subject, in parallel, at most 1,000 at once."""
        if isinstance(subjects, str):
            msg = f"the subjects of a map are the text {subjects!r}; give a list of them"
            raise BadParameter(msg)
        name = self._subject_parameter(operation)
        places = asyncio.Semaphore(MAP_CONCURRENCY)

        async def one(subject: str) -> Outcome | Exception:
            async with places:
                try:
                    return await ask({**parameters, name: subject})
                except Exception as error:
                    return error

        unique = list(dict.fromkeys(subjects))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(s), name=f"argo-mw:map:{operation}") for s in unique]
        return {subject: task.result() for subject, task in zip(unique, tasks, strict=True)}

    def refresh(self, call: Call) -> asyncio.Task[Outcome] | None:
        """Ask *call* again in the background, for the caches to keep.

        The task that does it, which may have been under way; ``None`` when there are too many.
        """
        under_way = self._refreshing.get(call.key)
        if under_way is not None:
            return under_way
        build = self._build
        if build is None or len(self._refreshing) >= _MOST_REFRESHES:
            return None
        variant = build.chains[call.operation.name].variant(call)
        again = call.extended({REFRESH: True}).until(None)
        task = self.tasks.spawn(
            f"refresh:{call.operation.name}", self.run(again, variant, call.operation.timeout)
        )
        self._refreshing[call.key] = task
        task.add_done_callback(lambda _: self._refreshing.pop(call.key, None))
        return task

    def _too_late(self, call: Call, started: float) -> DeadlineExceeded:
        waited = self.clock.monotonic() - started
        what = f"{call.operation.name} {call.subject}".strip()
        return DeadlineExceeded(f"no answer to {what} within {waited:.3g} s, the caller's deadline")

    def _ended(
        self,
        call: Call,
        variant: Variant,
        started: float,
        *,
        outcome: Outcome | None = None,
        error: BaseException | None = None,
    ) -> None:
        if self.events.calls:
            latency = self.clock.monotonic() - started
            self.events.emit(CallEnded(call, latency, outcome, error, arms=variant.arms))

    def _subject_parameter(self, operation: str) -> str:
        known = self.build.operations.get(operation)
        if known is None:
            self.build.questions.ask(operation, "", {})
        if known is None or not known.subject:
            msg = f"{operation} has no subject to map over; call it once for each parameter"
            raise BadParameter(msg)
        return known.subject


def _earlier(one: float, other: float | None) -> float:
    return one if other is None or one < other else other
