"""The context: the services that the framework offers to plugins."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from argo_mw.base.ages import TOLERANCE, Ages
from argo_mw.base.clock import Clock
from argo_mw.base.errors import SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.base.memory_shares import MemoryShares
from argo_mw.base.secret import redact
from argo_mw.base.tasks import Tasks
from argo_mw.chain.claims import Claims
from argo_mw.chain.panels import Panels
from argo_mw.chain.refresh import Refresh
from argo_mw.chain.runtime import Runtime
from argo_mw.chain.shadow_comparison import would_have
from argo_mw.counters.published import Counters, CountersOf
from argo_mw.flags import Decision
from argo_mw.flags.control import FlagControl
from argo_mw.model.call import Call
from argo_mw.model.charge import Charge
from argo_mw.model.events import Events, LayerActed, Shadowed, Trouble
from argo_mw.model.guard import Standing
from argo_mw.model.layer import Layer
from argo_mw.model.operation import AnyOperation, Parameters
from argo_mw.model.outcome import Outcome
from argo_mw.model.snapshot import Overview
from argo_mw.model.upstream import Upstream
from argo_mw.store.availability import Availability
from argo_mw.store.codec import Codecs
from argo_mw.store.epochs import Epochs
from argo_mw.store.give_backs import GiveBacks
from argo_mw.store.health import Ability
from argo_mw.store.journal import Journal
from argo_mw.store.protocol import Shared
from argo_mw.store.tag_versions import TagVersions

log = Log("argo_mw")

_UNSHARED = MemoryShares()
_MAX_WARNINGS = 1000
_MAX_TROUBLES = 50
_STORE = "shared store"
_WAITS = 5
_WAIT = 1.0
"""Seconds to wait for a store that is away, before trying what it has refused to one user."""


class Context:
    """The services that plugins may use; one for the life of an application.

    Attributes:
        clock: The time.
        ages: Tells how long ago a time of the wall clock was.
        shared: The store that instances share.
        tag_versions: The versions of tags, for layers that keep answers.
        codecs: Values to bytes and back.
        events: Delivers events; ask ``if context.events:`` before building one.
        tasks: Owner of background tasks, which it ends at shutdown.
        epochs: Counts in *shared* what periods have used, and notices that it was lost.
        counters: What calls did and cost: of this instance, its machine, or the fleet.
        give_backs: Gives back what was taken from *shared*, whatever its taker does.
        claims: Leases that are asked for with a look into *shared*.
        panels: What plugins show of themselves to people, here and in other instances.
        journal: What people and judges have changed.
        troubles: The newest problems that were reported here, with their times.
        memory: How much a part may keep in memory whose state grows with the calls.
        single_process: Whether no other process can share the store, so that values for other
            processes need not be written.
        serves: Whether this is a program that works, and not a command that looks at others: what
            listens at a port for them does so only then.
        state_dir: A private directory for files of the plugin's own.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        shared: Shared,
        tag_versions: TagVersions,
        codecs: Codecs,
        events: Events,
        tasks: Tasks,
        state_dir: Path,
        runtime: Runtime,
        single_process: bool = False,
        epochs: Epochs | None = None,
        counters: Counters | None = None,
        memory: MemoryShares = _UNSHARED,
    ) -> None:
        self.clock = clock
        self.ages = Ages(clock)
        self._ahead = 0.0
        self.shared = shared
        self.tag_versions = tag_versions
        self.codecs = codecs
        self.events = events
        self.tasks = tasks
        self.state_dir = state_dir
        self.single_process = single_process
        self.memory = memory
        self.serves = True
        self._runtime = runtime
        self._warnings: set[tuple[str, str]] = set()
        self.give_backs = GiveBacks(clock, tasks)
        self.claims = Claims(shared, clock, self.give_backs)
        self.epochs = epochs if epochs is not None else Epochs(shared, clock)
        self.epochs.warn = partial(self.warn_once, _STORE)
        self.counters = counters or Counters(shared, codecs, clock, tasks)
        self._known_acts = self.counters.tallies.known_acts
        self.panels = Panels(shared, codecs, clock, tasks, self.counters)
        self.journal = Journal(shared, codecs, clock, by=self.counters.instance)
        self.troubles: deque[tuple[float, Trouble]] = deque(maxlen=_MAX_TROUBLES)
        self._watch_store()

    async def call(self, parent: Call, operation: str, /, **parameters: object) -> Outcome:
        """Ask *operation* with *parameters* on behalf of *parent*, in its tenant and deadline.

        What the answer depends on is inherited by the parent's own.

        Raises:
            CallCycle: *parent* or one of its ancestors is this very question.
            ScopeConflict: The operation of *parent*, or of the call that an upstream answers
                here, is public, and the answers to *operation* belong to a tenant; nothing was
                asked.
            ArgoError: As :meth:`argo_mw.Argo.outcome`.
        """
        return await self._runtime.nested(parent, operation, parameters)

    async def map(
        self, parent: Call, operation: str, subjects: Iterable[str], /, **parameters: object
    ) -> dict[str, Outcome | Exception]:
        """Ask *operation* about many subjects on behalf of *parent*; see :meth:`call`.

        Raises:
            ScopeConflict: As for :meth:`call`.
            UnknownOperation: No installed plugin offers it.
            BadParameter: The operation is about no subject, or *subjects* is a text.
        """
        return await self._runtime.nested_map(parent, operation, subjects, parameters)

    def tenant_here(self, operation: str) -> str | None:
        """Return the tenant whose call an upstream answers here, and asks *operation* for.

        For what asks in other processes, which do not know what is being answered in this one.

        Returns:
            ``None`` where no upstream asks, and for an operation that tenants share.

        Raises:
            UnknownOperation: No installed plugin offers it.
            ScopeConflict: The upstream answers a public operation, and the answers to *operation*
                belong to a tenant.
        """
        return self._runtime.tenant_here(operation)

    async def charge_extra(self, call: Call) -> None:
        """Charge the quotas of *call*'s upstream with one more request, and announce it.

        For upstreams whose answer takes several requests, such as pages: awaited before each but
        the first, which the framework has charged.

        Raises:
            Refusal: A quota is used up, so the answer cannot be completed.
        """
        await self._runtime.charge_extra(call)

    def is_older(self, outcome: Outcome, max_age: float) -> bool:
        """Return whether the ``as_of`` of *outcome* is more than *max_age* seconds ago.

        In a process its age never shrinks, whatever is done to the wall clock. An answer of another
        process may be dated in the future by this one's clock: its age is unknown then, so it
        counts as older, which is reported once.
        """
        if outcome.as_of is None:
            return False
        age = self.ages.since(outcome.as_of)
        if age < -TOLERANCE:
            self._report_ahead(-age)
            return True
        return not age <= max_age

    def _report_ahead(self, seconds: float) -> None:
        self._ahead = self._ahead or seconds
        self.warn_once(
            "clock",
            f"a kept answer is dated {self._ahead:.3g} s ahead, so its age is not known: callers "
            "with max_age get a new one; compare the clocks of your machines",
        )

    def refresh(self, call: Call) -> Refresh | None:
        """Ask *call* again in the background, past the caches' lookup, unless that is under way.

        Await its :meth:`~Refresh.wait` for the answer. ``None`` when too many are under way.

        Raises:
            ScopeConflict: An upstream asks it that answers a public operation, and the answers to
                *call* belong to a tenant.
        """
        return self._runtime.refresh(call)

    async def ask_afresh(self, call: Call, upstream: str | None = None) -> Outcome:
        """Ask an upstream what *call* asks, past all layers, to check what layers have served.

        No layer sees the question, and no cache keeps the answer. Guards are asked as for every
        request; the request is counted as an audit, and for no arm of a flag.

        Args:
            call: The question.
            upstream: Which upstream to ask; by default those of the operation, in their order.

        Raises:
            DeadlineExceeded: The answer did not come within the operation's timeout.
            Refusal: Quotas, budgets or circuit breakers refused it.
            UpstreamError: It failed.
        """
        return await self._runtime.ask_afresh(call.evolve(upstream=upstream))

    def caller_context(self) -> contextvars.Context:
        """Return a copy of the caller's context, to run a load in that others may share.

        A trace goes on in it, with the load below the caller's span. What is asked in it is asked
        on behalf of no call that an upstream around the caller answers.
        """
        return self._runtime.caller_context()

    async def invalidate(self, tags: Iterable[str]) -> bool:
        """Count every kept answer with one of *tags* as gone, in every instance.

        Returns:
            Whether the other instances hear of it now; if not, as soon as the shared store takes
            it. In this one it holds in any case.
        """
        return await self.tag_versions.invalidate(tags)

    async def expire(self, tags: Iterable[str]) -> bool:
        """Count every kept answer with one of *tags* as stale; else as :meth:`invalidate`."""
        return await self.tag_versions.expire(tags)

    def upstreams(self, call: Call) -> Sequence[Upstream]:
        """Return the upstreams that may answer *call* now, in their configured order."""
        return self._runtime.upstreams(call)

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers that act on any call or shadow it, outermost first."""
        return self._runtime.layers

    def standings(self) -> Mapping[tuple[str, str], Standing]:
        """Return how guards stand to their upstreams, by the names of upstream and guard.

        Of those guards that say so, by what this instance knows; on the event loop only.
        """
        return self._runtime.standings()

    @property
    def flags(self) -> FlagControl:
        """The flags of the application, and the means to change them."""
        return self._runtime.flags

    def overview(self, of: CountersOf = "fleet", instance: str = "") -> Overview:
        """Return what reads what running programs do, for a screen that shows it.

        Args:
            of: Of which programs: of this one (``instance``), of its ``machine``, or of the
                ``fleet``.
            instance: The name of the only one that is looked at; "" for all.
        """
        return self._runtime.overview(of, instance)

    def flag(self, name: str, call: Call) -> Decision:
        """Evaluate flag *name*, one of those that the plugin registers, for *call*.

        Raises:
            ConfigError: There is no such flag.
        """
        return self._runtime.flag(name, call)

    def collect(self, hook: str, **arguments: object) -> dict[str, object]:
        """Return what every plugin answers to *hook*, a hook of some plugin's own, by plugin name.

        Args:
            hook: The hook's name.
            arguments: The arguments that the hook declares, by name.
        """
        return self._runtime.collect(hook, arguments)

    def operation(self, name: str) -> AnyOperation:
        """Return the operation called *name*.

        Raises:
            UnknownOperation: No installed plugin offers it.
        """
        return self._runtime.operation(name)

    def make_call(self, operation: str, tenant: str, parameters: Parameters) -> Call:
        """Return the call that asks *operation* with *parameters* for *tenant*, without asking it.

        Raises:
            UnknownOperation: No installed plugin offers it.
            BadParameter: A parameter is missing, unknown, refused, or cannot be part of a key.
        """
        return self._runtime.make_call(operation, tenant, parameters)

    def configuration_of(self, operations: Iterable[str]) -> str:
        """Return a digest of what is configured about the answers to *operations*, by their names.

        It covers the order of their upstreams and the tables of the plugins that offer or answer
        them, without secrets; it is equal in instances that are configured alike.
        """
        return self._runtime.configuration_of(operations)

    def record_charge(self, charge: Charge) -> None:
        """Record *charge*: what a layer saved. What requests cost is recorded by the core.

        It goes into the table of costs in use; without one it is dropped.
        """
        self._runtime.record_charge(charge)

    def report_shadow(
        self, layer: str, call: Call, outcome: Outcome, *, kept: Outcome | None, why: str = ""
    ) -> None:
        """Report what *layer*, which is in shadow, would have done with *call*.

        It is counted, announced as ``would-hit`` or ``would-miss``, and shown by explanations.

        Args:
            layer: The layer's name.
            call: The question.
            outcome: The answer that came.
            kept: The answer that the layer would have given; ``None`` where it would have passed
                the call on.
            why: Why, in a few words.
        """
        event = would_have(layer, call, outcome, kept, why)
        self.counters.tallies.shadowed(event)
        if Shadowed in self.events.wanted:
            self.events.emit(event)
        self.announce(layer, "would-hit" if event.would_hit else "would-miss", call, why)

    def warn_once(self, where: str, what: str) -> None:
        """Report once that *what* is wrong at *where*, in the log and as an event."""
        if (where, what) in self._warnings:
            return
        if len(self._warnings) >= _MAX_WARNINGS:
            self._warnings.clear()
        self._warnings.add((where, what))
        self.report(where, what)

    def report(self, where: str, what: str) -> None:
        """Report that *what* is wrong at *where*, in the log and as an event, each time."""
        log.warning(what, where=where)
        trouble = Trouble(where, redact(what))
        self.troubles.append((self.clock.time(), trouble))
        self.counters.tallies.troubled(where)
        if self.events:
            self.events.emit(trouble)

    async def report_refusal(
        self, where: str, what: str, attempt: Callable[[], Awaitable[object]]
    ) -> bool:
        """Report that the store refuses something to *where* alone, and return whether it does.

        What it refuses to everyone is found and reported anyway: this is for what only one of its
        users asks for, such as a channel, or to keep values that are too large.

        Args:
            where: What asks.
            what: What follows from the refusal, in words.
            attempt: Asks once more.
        """
        health = self.tag_versions.health
        for _ in range(_WAITS):
            if not await health.check():
                break
            health.look()
            await self.clock.sleep(_WAIT)
        else:
            return False
        try:
            await attempt()
        except SharedUnavailable as error:
            self.warn_once(where, f"{what}: {error}")
            return True
        return False

    def _watch_store(self) -> None:
        """Report what the store refuses to its driver or to the layers that use it."""
        health = self.tag_versions.health
        health.on_trouble = partial(self.report, _STORE)
        known = getattr(self.shared, "availability", None)
        if isinstance(known, Availability):
            known.watch(
                lambda why: health.failed(Ability.WRITE, SharedUnavailable(why)),
                lambda _: health.look(),
            )

    def announce(self, layer: str, action: str, call: Call | None = None, detail: str = "") -> None:
        """Count that *layer* did *action*, and emit it if anything observes it.

        See :class:`LayerActed`. ``hit`` and ``joined`` need to be announced only while
        ``events.calls`` and ``events.wants_of(call)`` say that they are observed: answers are
        counted where calls end.

        Args:
            layer: The layer's name.
            action: What it did, of a handful of words.
            call: The question, if there is one.
            detail: More about it.
        """
        # By hand, since a miss announces four: `acted` takes two functions more.
        try:
            self._known_acts[layer, action] += 1
        except KeyError:
            self.acted(layer, action)
        events = self.events
        if LayerActed in events.wanted and (call is None or events.wants_of(call)):
            events.emit(LayerActed(layer, action, call, detail))

    def acted(self, layer: str, act: str) -> None:
        """Count that *layer* did *act*; :meth:`announce` does so too."""
        self.counters.tallies.acted(layer, act)
