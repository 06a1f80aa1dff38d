"""The engine: runs calls through the chains of the current pipeline, in time."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from argo_mw.app.ask_each import ask_each
from argo_mw.app.call_cache import NO_CALLS, Calls, not_open
from argo_mw.app.configured import configuration_of
from argo_mw.app.pipeline import Pipeline
from argo_mw.app.scope import check_scope
from argo_mw.app.standings import standings_of
from argo_mw.base.clock import Clock
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.errors import BadParameter, CallCycle, DeadlineExceeded, NotFound
from argo_mw.base.tasks import Tasks
from argo_mw.chain.answering import Answering
from argo_mw.chain.compose import Chain, Variant
from argo_mw.chain.costs import Costs
from argo_mw.chain.find import Looks, pass_over, with_missed
from argo_mw.chain.refresh import Refresh
from argo_mw.counters.instance import AUDIT
from argo_mw.counters.published import Counters, CountersOf
from argo_mw.flags import Decision
from argo_mw.flags.control import FlagControl
from argo_mw.flags.parse import format_rule
from argo_mw.flags.sources import unknown_flag
from argo_mw.model.call import Call
from argo_mw.model.charge import Charge
from argo_mw.model.events import CallEnded, Events, Reconfigured
from argo_mw.model.guard import Standing
from argo_mw.model.layer import Layer
from argo_mw.model.operation import AnyOperation, Parameters
from argo_mw.model.outcome import Outcome
from argo_mw.model.snapshot import Overview
from argo_mw.model.upstream import Upstream
from argo_mw.registry import Plugins

_MAX_REFRESHES = 256
_AUDITED: Mapping[str, object] = MappingProxyType({AUDIT: True})


class Engine:
    """Runs calls through the chains of the current pipeline.

    Attributes:
        plugins: The plugins in use.
        clock: The time.
        events: Delivers events.
        tasks: The background tasks.
        costs: The recorder of what requests cost.
        calls: The calls of the current pipeline; an attribute, since every memory hit reads it.
        counters: What calls are counted by, once the application is being opened.
        answering: The calls that upstreams are answering.
        under_way: Returns what is being answered here, if anything; an attribute, as ``calls`` is.
        flags: The flags, and the means to change them; set when the application opens.
        overview: Returns what reads what running programs do; set then, too.
    """

    flags: FlagControl
    overview: Callable[[CountersOf, str], Overview]

    def __init__(self, plugins: Plugins, clock: Clock, events: Events, tasks: Tasks) -> None:
        self.plugins = plugins
        self.clock = clock
        self.events = events
        self.tasks = tasks
        self.costs = Costs(events)
        self._pipeline: Pipeline | None = None
        # Also after the end of the application, for what is recorded of the last calls.
        self._latest: Pipeline | None = None
        self.calls: Calls = NO_CALLS
        self.counters: Counters | None = None
        self.answering = Answering()
        self.under_way = self.answering.current.get
        self._longest_timeout = 0.0
        self._refreshing: dict[str, Refresh] = {}
        self._configurations: dict[frozenset[str], str] = {}

    @property
    def pipeline(self) -> Pipeline:
        """The current pipeline.

        Raises:
            Closed: The application is not open.
        """
        if self._pipeline is None:
            raise not_open()
        return self._pipeline

    @property
    def serving(self) -> Pipeline:
        """The pipeline of calls under way: when the application closes, they are ended on the last.

        Raises:
            Closed: The application was never open.
        """
        if self._latest is None:
            raise not_open()
        return self._latest

    @property
    def is_open(self) -> bool:
        """Whether calls are accepted."""
        return self._pipeline is not None

    @property
    def longest_timeout(self) -> float:
        """The seconds within which every call under way ends."""
        return self._longest_timeout

    def expect_timeout(self, seconds: float) -> None:
        """Note that a caller may wait for *seconds*."""
        self._longest_timeout = max(self._longest_timeout, seconds)

    def use(self, pipeline: Pipeline, reason: str) -> None:
        """Send new calls through *pipeline*; calls under way finish on the old one."""
        self._pipeline = self._latest = pipeline
        self._configurations = {}
        self.calls = pipeline.calls
        self.costs.use(pipeline.cost_tables)
        if self.counters is not None:
            self.counters.tallies.use(pipeline.tally_of)
            self.counters.tallies.rebuilt += 1
        self.expect_timeout(max((o.timeout for o in pipeline.operations.values()), default=0.0))
        if self.events.active:
            flags = tuple((name, format_rule(f.rule)) for name, f in pipeline.flags.items())
            self.events.emit(Reconfigured(reason, flags))

    def close(self) -> None:
        """Accept no more calls."""
        self._pipeline = None
        self.calls = NO_CALLS

    async def answer(self, call: Call, chain: Chain, timeout: float) -> Outcome:
        """Return the answer to *call*: at once where one is at hand, else through the chain."""
        variant = chain.constant or chain.variant(call)
        looks = None
        if variant.find is not None:
            found = variant.find(call)
            if type(found) is Outcome:
                return found
            looks = found
        return await self.run(call, variant, timeout, looks)

    async def run(
        self, call: Call, variant: Variant, timeout: float, looks: Looks | None = None
    ) -> Outcome:
        """Return the answer to *call* through *variant*, within *timeout* seconds.

        When that is not there in time, an old answer stands in, where a layer has one.

        Args:
            call: The question.
            variant: The chain for it.
            timeout: Seconds to wait at most.
            looks: What to wait for before the chain is entered.

        Raises:
            DeadlineExceeded: It did not come in time.
            ArgoError: What the chain raised.
        """
        started = self.clock.monotonic()
        deadline = started + timeout
        if call.deadline is not None and call.deadline < deadline:
            deadline = call.deadline
        pending, left = iter(looks or ()), deadline - started
        found_by = ""
        missed: tuple[str, ...] = ()
        try:
            # Here rather than in a coroutine of its own, which would be 3 % of a get from a store.
            for layer, look in pending:
                try:
                    ends = layer.find_timeout < left
                    found = await (look if ends else fail_at(look, deadline, self.clock))
                    if type(found) is Outcome:
                        outcome, found_by = found, layer.name
                        break
                    missed = with_missed(missed, layer, found)
                except BaseException as error:
                    self._pass_over(layer, call, variant, error, deadline)
                left = deadline - self.clock.monotonic()
            else:
                outcome = await self._within(call, variant, deadline, missed)
        except TimeLimitExceeded:
            outcome = self._stand_in(call, variant, started)
        except BaseException as error:
            self._failed(call, variant, started, error)
            raise
        finally:
            for _, not_needed in pending:
                not_needed.close()
        latency = self.clock.monotonic() - started
        variant.tally.answered(call, outcome, latency, found_by)
        if self.events.calls and self.events.wants_of(call):
            self.events.emit(CallEnded(call, latency, outcome, arms=variant.arms))
        return outcome

    def _pass_over(
        self, layer: Layer, call: Call, variant: Variant, error: BaseException, deadline: float
    ) -> None:
        """Return if *call* goes on although the look of *layer* ended in *error*.

        A layer whose look has failed is not named as one that missed: it may look again.

        Raises:
            BaseException: *error*, which is not a bug of the layer's.
            TimeLimitExceeded: The caller's deadline has passed.
            LayerUnavailable: The layer fails closed.
        """
        if isinstance(error, TimeLimitExceeded) and self.clock.monotonic() >= deadline:
            raise error
        pass_over(layer, call, error, variant.report)

    def _within(
        self, call: Call, variant: Variant, deadline: float, missed: tuple[str, ...]
    ) -> Awaitable[Outcome]:
        if variant.only is not None:
            return variant.run(call.evolve(upstream=variant.only, deadline=deadline))
        entered = variant.run(call.evolve(deadline=deadline, missed=missed))
        return fail_at(entered, deadline, self.clock)

    def _stand_in(self, call: Call, variant: Variant, started: float) -> Outcome:
        """Return the old answer that stands in for one that did not come in time.

        Raises:
            DeadlineExceeded: There is none.
        """
        standing_in = None if call.refresh or not variant.stand_in else variant.stand_in(call)
        if standing_in is None:
            raise self._missed(call, variant, started) from None
        return standing_in

    def _missed(self, call: Call, variant: Variant, started: float) -> DeadlineExceeded:
        """Count that *call* was not answered in time; return the error that says so."""
        late = self._too_late(call, started)
        self._failed(call, variant, started, late)
        return late

    async def nested(self, parent: Call, operation: str, parameters: Parameters) -> Outcome:
        """Return the answer to a question that *parent* depends on."""
        call, chain = self.calls.get(operation, parent.tenant, parameters)
        check_scope(parent.operation, chain.operation)
        self._check_here(chain.operation)
        if call.key == parent.key or call.key in parent.ancestors:
            msg = f"{call.label} asks for itself, through {parent.operation.name}"
            raise CallCycle(msg)
        lineage = parent.lineage
        try:
            outcome = await self.answer(call.descend(parent), chain, call.operation.timeout)
        except NotFound:
            raise  # that there is nothing is an answer
        except BaseException:
            if lineage is not None:
                lineage.failed.add(operation)
            raise
        if lineage is not None:
            lineage.outcomes.append(outcome)
        return outcome

    async def nested_map(
        self, parent: Call, operation: str, subjects: Iterable[str], parameters: Parameters
    ) -> dict[str, Outcome | Exception]:
        """Return the answer or the error for each subject that *parent* depends on."""
        check_scope(parent.operation, self.pipeline.operation(operation))
        self.check_asked(operation)
        return await self.map(
            operation, subjects, parameters, lambda one: self.nested(parent, operation, one)
        )

    async def map(
        self,
        operation: str,
        subjects: Iterable[str],
        parameters: Parameters,
        ask: Callable[[Parameters], Awaitable[Outcome]],
    ) -> dict[str, Outcome | Exception]:
        """Return the answer or the error for each subject, asked in parallel, 1,000 at once."""
        name = self._subject_parameter(operation)
        if name in parameters:
            msg = f"{operation} is mapped over {name!r}, which is given besides; leave it out"
            raise BadParameter(msg)
        return await ask_each(
            operation, subjects, lambda subject: ask({**parameters, name: subject})
        )

    def check_asked(self, operation: str) -> None:
        """Check that *operation* may be asked here.

        Raises:
            ScopeConflict: An upstream asks it that answers a public operation, and its answers
                belong to a tenant.
        """
        self._check_here(self.pipeline.operation(operation))

    def tenant_here(self, operation: str) -> str | None:
        """Return for which tenant an upstream asks *operation* here; ``None`` where none does.

        Raises:
            UnknownOperation: No installed plugin offers it.
            ScopeConflict: As for :meth:`check_asked`.
        """
        self.check_asked(operation)
        asking = self.answering.here()
        if asking is None or self.pipeline.operation(operation).scope == "public":
            return None
        return asking.tenant

    def _check_here(self, asked: AnyOperation) -> None:
        asking = self.answering.here()
        if asking is not None:
            check_scope(asking.operation, asked)

    def attributed(self, call: Call, parameters: Parameters, *, named: bool) -> Call:
        """Return *call*, whose answers belong to a tenant, as it may be asked here.

        Where an upstream asks it, that is on behalf of the tenant that the upstream answers.

        Args:
            call: What a caller asks.
            parameters: What it was made of.
            named: Whether the caller names its tenant, which is then asked for everywhere.

        Raises:
            ScopeConflict: An upstream asks it that answers a public operation.
        """
        asking = self.answering.here()
        if asking is None:
            return call
        check_scope(asking.operation, call.operation)
        if named or asking.tenant == call.tenant:
            return call
        return self.calls.get(call.operation.name, asking.tenant, parameters)[0]

    def refresh(self, call: Call) -> Refresh | None:
        """Ask *call* again in the background, for the caches to keep.

        Returns what to wait for, which may have been under way; ``None`` when there are too many.

        Raises:
            ScopeConflict: An upstream asks it that answers a public operation, and the answers to
                *call* belong to a tenant.
        """
        self._check_here(call.operation)
        under_way = self._refreshing.get(call.key)
        if under_way is not None:
            return under_way
        pipeline = self._pipeline
        if pipeline is None or len(self._refreshing) >= _MAX_REFRESHES:
            return None
        variant = pipeline.chains[call.operation.name].variant(call)
        again = call.evolve(refresh=True, deadline=None, missed=())
        task = self.tasks.spawn(
            f"refresh:{call.operation.name}",
            self.run(again, variant, call.operation.timeout),
            context=self.caller_context(),
            of_call=True,
        )
        refresh = self._refreshing[call.key] = Refresh(call.label, task)
        task.add_done_callback(lambda _: self._refreshing.pop(call.key, None))
        return refresh

    async def ask_afresh(self, call: Call) -> Outcome:
        """Ask the upstreams of *call*, or the one that it is bound to, past all layers.

        Raises:
            DeadlineExceeded: The answer did not come within the operation's timeout.
            ArgoError: What upstreams and their guards raised.
        """
        started = self.clock.monotonic()
        limit = started + call.operation.timeout
        asked = call.evolve(refresh=True, deadline=limit, missed=(), extensions=_AUDITED)
        chain = self.pipeline.chains[call.operation.name]
        try:
            return await fail_at(chain.bare(asked), limit, self.clock)
        except TimeLimitExceeded:
            raise self._too_late(call, started) from None

    def caller_context(self) -> contextvars.Context:
        """Return a copy of the caller's context, in which no upstream asks."""
        return self.answering.nowhere()

    async def charge_extra(self, call: Call) -> None:
        """Charge one more request for *call*, which is bound to an upstream."""
        assert call.upstream is not None, "only a call that is bound to an upstream is being sent"
        await self.serving.upstreams[call.upstream].caller.charge_extra(call)

    def upstreams(self, call: Call) -> Sequence[Upstream]:
        """Return the upstreams that may answer *call* now, in their configured order."""
        return self.serving.upstreams_for(call)

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers that act on any call or shadow it, outermost first."""
        order = self.pipeline.order
        return (*order.outer, *order.inner)

    def standings(self) -> Mapping[tuple[str, str], Standing]:
        """Return how the guards that say so stand, by upstream and guard."""
        return standings_of(self.pipeline.upstreams)

    def flag(self, name: str, call: Call) -> Decision:
        """Evaluate flag *name* for *call*.

        Raises:
            ConfigError: There is no such flag.
        """
        flags = self.serving.flags
        if name not in flags:
            raise unknown_flag(name, flags, where="a plugin", does="asks")
        return flags[name].decide(call)

    def collect(self, hook: str, arguments: Mapping[str, object]) -> dict[str, object]:
        """Return what every plugin answers to *hook*, by plugin name."""
        return self.plugins.collect(hook, **arguments)

    def operation(self, name: str) -> AnyOperation:
        """Return the operation called *name*.

        Raises:
            UnknownOperation: No installed plugin offers it.
        """
        return self.pipeline.operation(name)

    def configuration_of(self, operations: Iterable[str]) -> str:
        """Return a digest of what is configured about the answers to *operations*."""
        names = frozenset(operations)
        found = self._configurations.get(names)
        if found is None:
            assert self._latest is not None, "only what was asked is recorded"
            found = self._configurations[names] = configuration_of(self._latest, names)
        return found

    def record_charge(self, charge: Charge) -> None:
        """Record *charge*."""
        self.costs.record(charge)
        if charge.layer and self.counters is not None:
            self.counters.tallies.saved(charge)

    def make_call(self, operation: str, tenant: str, parameters: Parameters) -> Call:
        """Return the call that asks *operation* with *parameters* for *tenant*."""
        return self.calls.get(operation, tenant, parameters)[0]

    def _too_late(self, call: Call, started: float) -> DeadlineExceeded:
        waited = self.clock.monotonic() - started
        return DeadlineExceeded(
            f"no answer to {call.label} within {waited:.3g} s, the caller's deadline"
        )

    def _failed(self, call: Call, variant: Variant, started: float, error: BaseException) -> None:
        latency = self.clock.monotonic() - started
        variant.tally.failed(call, error, latency)
        if self.events.calls and self.events.wants_of(call):
            self.events.emit(CallEnded(call, latency, None, error, arms=variant.arms))

    def _subject_parameter(self, operation: str) -> str:
        known = self.pipeline.operation(operation)
        if not known.subject:
            msg = f"{operation} has no subject to map over; call it once for each parameter"
            raise BadParameter(msg)
        return known.subject
