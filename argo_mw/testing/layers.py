"""The contract of layers, as tests that any layer must pass.

Subclass :class:`LayerConformance` in a test module, name the plugin and an operation that its
layers serve, and pytest does the rest.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import pytest
from attrs import evolve

from argo_mw.app.application import Argo, context_of, engine_of
from argo_mw.base.errors import Action, ConfigError, LayerUnavailable, QuotaExceeded, UpstreamError
from argo_mw.config import ArgoSettings
from argo_mw.model.call import Call
from argo_mw.model.events import LayerBypassed
from argo_mw.model.layer import SLOTS, DryRuns, Explains, Finds, Layer, Shadows
from argo_mw.model.operation import AnyOperation, operation
from argo_mw.model.outcome import Outcome
from argo_mw.testing.blocking import blocking_calls
from argo_mw.testing.clock import FakeClock, settle
from argo_mw.testing.events import capture_events
from argo_mw.testing.isolation import IsolatedTests
from argo_mw.testing.memory_use import remembered
from argo_mw.testing.plugins import FakePlugin
from argo_mw.testing.upstreams import Scripted

_MANY = 1_000
_TIMEOUT = 60.0
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE


@operation(name="question", scope="public", subject="topic")
def _question(topic: str) -> object:
    """A question that only tests ask."""


class LayerConformance(IsolatedTests):
    """What the layers of every plugin must hold to; override the first two attributes at least.

    Attributes:
        name: The plugin's name.
        plugin: The module, class or object that is its entry point.
        config: Its table in the configuration.
        operation: An operation that it serves, with its subject as the one parameter that it needs.
        tight: Changes to its table that bound what it remembers to a few hundred items, where
            the defaults let it remember more. Also the changed configuration of the test of
            :meth:`test_it_goes_on_when_its_configuration_changes`.
        fail_closed: Whether calls are refused when its layers fail or are left out; by default
            they are answered all the same.
    """

    name: str
    plugin: object
    config: dict[str, object] = {}  # noqa: RUF012 - overridden, never changed
    operation: AnyOperation = _question
    tight: dict[str, object] = {}  # noqa: RUF012 - overridden, never changed
    fail_closed: bool = False

    def open(
        self,
        upstream: Scripted,
        *,
        flag: object = "on",
        shared: str = "memory://",
        clock: FakeClock | None = None,
        config: dict[str, object] | None = None,
    ) -> Argo:
        """Return an application with the plugin's layers around *upstream* and nothing else.

        Args:
            upstream: Answers the operation.
            flag: What the plugin's flag is set to.
            shared: The URL of the shared store.
            clock: The clock; by default a fake one.
            config: Changes to the plugin's table.
        """
        asked = FakePlugin(operations=[self.operation], upstreams=[upstream])
        return Argo.open(
            self.settings(flag=flag, shared=shared, config=config),
            clock=clock or FakeClock(),
            plugins={self.name: self.plugin, "asked": asked},
            installed=False,
        )

    def settings(
        self,
        *,
        flag: object = "on",
        shared: str = "memory://",
        config: dict[str, object] | None = None,
    ) -> dict[str, object]:
        """Return the configuration that :meth:`open` makes of *flag*, *shared* and *config*."""
        table = self.config | (config or {})
        return {
            "argo": {"shared": shared, "strict": True},
            "flags": {self.name: flag},
            "plugins": {self.name: table} if table else {},
        }

    def scripted(self, *script: object) -> Scripted:
        """Return an upstream for the operation that follows *script*."""
        return Scripted("scripted", {self.operation.name}, *script, retries=0)

    @pytest.mark.asyncio
    async def test_it_has_one_name_everywhere(self) -> None:
        """Plugin, layer and flag are called the same; a named slot exists."""
        async with self.open(self.scripted()) as argo:
            layers = self._layers(argo)
            assert layers, f"plugin {self.name!r} registers no layer"
            assert {self.name} == {layer.flag for layer in layers}
            assert self.name in engine_of(argo).pipeline.flags
            assert {layer.slot for layer in layers} <= {"", *SLOTS}

    @pytest.mark.asyncio
    async def test_it_is_opened_and_closed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However often its flag flips; what the core awaits must end by itself."""
        async with self.open(self.scripted()) as argo:
            kinds = {type(layer.middleware) for layer in self._layers(argo)}
        counts: Counter[str] = Counter()
        for kind in kinds:
            for name in ("open", "close"):
                if hasattr(kind, name):
                    monkeypatch.setattr(kind, name, _counted(getattr(kind, name), counts))
        async with self.open(self.scripted()) as argo:
            layers = self._layers(argo)
            for flag in ("off", "on"):
                await argo.reload(self.settings(flag=flag))
                await argo.call(self.operation.name, **self._about("first"))
        for name in ("open", "close"):
            expected = sum(hasattr(layer.middleware, name) for layer in layers)
            assert expected == counts[name], f"{name} was awaited {counts[name]} times"

    @pytest.mark.asyncio
    async def test_it_goes_on_when_its_configuration_changes(self) -> None:
        """Layers of a changed configuration answer as those that they replace."""
        async with self.open(self.scripted()) as argo:
            events = capture_events(argo)
            for config in ({}, self.tight):
                await argo.reload(self.settings(config=config))
                for subject in ("first", "second"):
                    answer = await argo.call(self.operation.name, **self._about(subject))
                    assert subject == answer
        self._check_none_failed(events.of(LayerBypassed))

    @pytest.mark.asyncio
    async def test_it_keeps_tenants_apart(self) -> None:
        """What belongs to a tenant is given to no other, at once or afterwards."""
        own = evolve(self.operation, scope="tenant")
        upstream = self.scripted()
        asked = FakePlugin(operations=[own], upstreams=[upstream])
        argo = Argo.open(
            self.settings(),
            clock=FakeClock(),
            plugins={self.name: self.plugin, "asked": asked},
            installed=False,
        )
        tenants = [f"tenant-{n}" for n in range(4)]
        async with argo:
            for _ in range(2):
                asking = [
                    argo.options(tenant=t).call(own.name, **self._about("x")) for t in tenants
                ]
                await asyncio.gather(*asking)
        served = {call.tenant for call in upstream.asked}
        assert set(tenants) == served, f"the upstream answered {sorted(served)} only"

    @pytest.mark.asyncio
    async def test_it_is_transparent_when_off(self) -> None:
        """A call through a layer that is off is as if it were not installed."""
        upstream = self.scripted()
        async with self.open(upstream, flag="off") as argo:
            outcome = await argo.outcome(self.operation.name, **self._about("first"))
            assert outcome.value == "first"
            assert self.name not in outcome.via
            assert f"layer:{self.name}" not in outcome.tags
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_in_shadow_it_serves_nothing(self) -> None:
        """It is shown the answer and asks nobody; a layer that cannot shadow refuses to."""
        async with self.open(self.scripted()) as argo:
            able = any(isinstance(layer.middleware, Shadows) for layer in self._layers(argo))
        upstream = self.scripted()
        shadowing = self.open(upstream, flag="shadow")
        if not able:
            with pytest.raises(ConfigError, match="cannot shadow"):
                await shadowing.__aenter__()
            return
        async with shadowing as argo:
            idle = engine_of(argo).tasks.names
            events = capture_events(argo)
            outcome = await argo.outcome(self.operation.name, **self._about("first"))
            await self._only(argo, idle)
        assert outcome.value == "first"
        assert self.name not in outcome.via
        assert len(upstream.asked) == 1
        self._check_none_failed(events.of(LayerBypassed))

    @pytest.mark.asyncio
    async def test_it_hands_on_the_answer(self) -> None:
        """On or off, the caller gets what the upstream said."""
        async with self.open(self.scripted()) as argo:
            assert await argo.call(self.operation.name, **self._about("first")) == "first"

    @pytest.mark.asyncio
    async def test_it_hands_on_what_an_answer_lacks(self) -> None:
        """A degraded answer stays marked as one, and lives no longer than its upstream allows."""
        async with self.open(self.scripted(Outcome("first", lacks=frozenset({"rest"})))) as argo:
            soon = context_of(argo).clock.time() + ArgoSettings().lacking_ttl
            for _ in range(2):
                outcome = await argo.outcome(self.operation.name, **self._about("first"))
                assert frozenset({"rest"}) == outcome.lacks
                assert outcome.expires_at is not None
                assert outcome.expires_at <= soon

    @pytest.mark.asyncio
    async def test_it_forgets_what_it_keeps_when_it_is_killed(self) -> None:
        """What it kept before is served to nobody after it was revived.

        Killing a flag replaces the tag ``layer:NAME``: a layer that keeps answers keeps the version
        that this tag had before the load, beside those of the call's own tags.
        """
        answers = ["first"]
        async with self.open(self.scripted(lambda _: answers[-1])) as argo:
            for _ in range(2):
                assert await argo.call(self.operation.name, **self._about("first")) == "first"
            answers.append("second")
            await argo.invalidate(f"layer:{self.name}")
            assert await argo.call(self.operation.name, **self._about("first")) == "second"

    @pytest.mark.asyncio
    async def test_find_asks_no_upstream(self) -> None:
        """It returns what is at hand before a question is answered for the first time, or after.

        A coroutine that it returns may be closed without being awaited: the next call for the
        same answer must not wait for it.
        """
        upstream = self.scripted()
        async with self.open(upstream) as argo:
            idle = engine_of(argo).tasks.names
            for asked in range(2):
                for layer in self._outer(argo):
                    await self._found(layer, self._call(argo, "first"), awaited=False)
                    await self._found(layer, self._call(argo, "first"), awaited=True)
                assert asked == len(upstream.asked), "find asked an upstream"
                async with asyncio.timeout(_TIMEOUT):
                    await argo.call(self.operation.name, **self._about("first"))
                upstream.asked[1:] = []
            await self._only(argo, idle)

    @pytest.mark.asyncio
    async def test_find_and_the_layer_agree(self) -> None:
        """What find serves is what the layer answers a call with that enters the chain."""

        async def call_next(call: Call) -> Outcome:
            msg = "find has an answer to a call that the layer sends on"
            raise AssertionError(msg)

        async with self.open(self.scripted()) as argo:
            await argo.call(self.operation.name, **self._about("first"))
            await self._only(argo, engine_of(argo).tasks.names)
            call = self._call(argo, "first")
            for layer in self._outer(argo):
                found = await self._found(layer, call, awaited=True)
                if found is not None:
                    answered = await layer.middleware(call, call_next)
                    assert _essence(answered) == _essence(found)

    @pytest.mark.asyncio
    async def test_it_explains_itself_in_one_line(self) -> None:
        """Before and after an answer, without asking an upstream."""
        upstream = self.scripted()
        async with self.open(upstream) as argo:
            for asked in range(2):
                for layer in self._layers(argo):
                    if isinstance(layer.middleware, Explains):
                        text = layer.middleware.explain(self._call(argo, "first"))
                        assert text, f"layer {layer.name!r} explains nothing"
                        assert [text] == text.splitlines()
                    if isinstance(layer.middleware, DryRuns):
                        text = await layer.middleware.dry_run(self._call(argo, "first"))
                        assert text, f"the dry run of layer {layer.name!r} says nothing"
                        assert [text] == text.splitlines()
                assert asked == len(upstream.asked), "explain or dry_run asked an upstream"
                await argo.call(self.operation.name, **self._about("first"))

    @pytest.mark.asyncio
    async def test_it_passes_what_the_chain_raises(self) -> None:
        """Refusals and upstream errors reach the caller as they were raised."""
        for error in (
            QuotaExceeded("used up", retry_at=1.0),
            UpstreamError("down", upstream="scripted", action=Action.STOP),
        ):
            async with self.open(self.scripted(error)) as argo:
                with pytest.raises(type(error), match=str(error)):
                    await argo.call(self.operation.name, **self._about("first"))

    @pytest.mark.asyncio
    async def test_it_passes_cancellation(self) -> None:
        """A caller that leaves ends the upstream request, and nothing stays behind."""
        upstream = self.scripted()
        upstream.gate.clear()
        async with self.open(upstream) as argo:
            idle = engine_of(argo).tasks.names
            task = asyncio.create_task(argo.outcome(self.operation.name, **self._about("first")))
            await upstream.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await self._only(argo, idle)
            assert upstream.cancelled == upstream.requests

    @pytest.mark.asyncio
    async def test_it_answers_while_the_shared_store_is_away(self) -> None:
        """Without the store it knows nothing, and asks the upstream once."""
        upstream = self.scripted()
        async with self.open(upstream, shared="unreachable://") as argo:
            assert await argo.call(self.operation.name, **self._about("first")) == "first"
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_hands_on_an_answer_that_cannot_be_copied(self) -> None:
        """What it cannot keep or share still reaches the caller, from one request."""
        answer = threading.Lock()
        upstream = self.scripted(lambda _: answer)
        async with self.open(upstream) as argo:
            assert await argo.call(self.operation.name, **self._about("first")) is answer
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_never_blocks_the_loop(self) -> None:
        """A call through it does not sleep, connect, or start a process on the loop's thread."""
        async with self.open(self.scripted()) as argo:
            with blocking_calls() as found:
                for _ in range(2):
                    await argo.call(self.operation.name, **self._about("first"))
        assert found == [], "\n".join(found)

    @pytest.mark.asyncio
    async def test_its_own_failure_ends_as_declared(self) -> None:
        """Calls are answered past a layer that fails; one that fails closed lets none be asked."""
        async with self.open(self.scripted()) as argo:
            layers = self._layers(argo)
        assert {self.fail_closed} == {layer.fail_closed for layer in layers}, (
            f"`fail_closed` is {self.fail_closed} here, and not in each Layer of {self.name!r}"
        )
        kinds = {type(layer.middleware) for layer in layers}
        if not all(map(_can_be_changed, kinds)):
            return  # a function cannot be made to fail
        for name, failing in (("__call__", _failing_async), ("find", _failing)):
            with pytest.MonkeyPatch.context() as patch:
                for kind in kinds:
                    if hasattr(kind, name):
                        patch.setattr(kind, name, failing)
                upstream = self.scripted()
                async with self.open(upstream) as argo:
                    await self._ends_as_declared(argo, upstream, closed=self.fail_closed)

    @pytest.mark.asyncio
    async def test_being_left_out_ends_as_declared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same if it cannot open; where its flag is off, it refuses nothing."""
        async with self.open(self.scripted()) as argo:
            kinds = {type(layer.middleware) for layer in self._layers(argo)}
        opening = [kind for kind in kinds if hasattr(kind, "open")]
        if not opening:
            return
        for kind in opening:
            monkeypatch.setattr(kind, "open", _failing_async)
        for flag in ("on", "off"):
            upstream = self.scripted()
            settings = self.settings(flag=flag)
            settings["argo"] = {"shared": "memory://"}
            asked = FakePlugin(operations=[self.operation], upstreams=[upstream])
            plugins = {self.name: self.plugin, "asked": asked}
            left_out = Argo.open(settings, clock=FakeClock(), plugins=plugins, installed=False)
            async with left_out as argo:
                assert [self.name] == [broken.plugin for broken in argo.broken]
                await self._ends_as_declared(
                    argo, upstream, closed=self.fail_closed and flag == "on"
                )

    async def _ends_as_declared(
        self, argo: Argo, upstream: Scripted, *, closed: bool | None = None
    ) -> None:
        about = self._about("first")
        if self.fail_closed if closed is None else closed:
            with pytest.raises(LayerUnavailable, match=self.name):
                await argo.call(self.operation.name, **about)
            assert upstream.asked == []
        else:
            assert await argo.call(self.operation.name, **about) == "first"
            assert len(upstream.asked) == 1

    @pytest.mark.asyncio
    async def test_it_leaves_no_task_behind(self) -> None:
        """Thousands of different calls leave no task and no flight behind."""
        async with self.open(self.scripted()) as argo:
            before, idle = asyncio.all_tasks(), engine_of(argo).tasks.names
            for number in range(_MANY):
                await argo.call(self.operation.name, **self._about(f"S{number}"))
            await asyncio.sleep(0)
            assert engine_of(argo).tasks.names == idle
            left = len(asyncio.all_tasks() - before)
            # A few may work for all calls together.
            assert left < _MANY // 100, (
                f"{left} tasks outlive the {_MANY} calls that started them: await them, or start "
                "them with context.tasks.spawn(), and bound how many there are"
            )

    @pytest.mark.asyncio
    async def test_it_keeps_its_state_bounded(self) -> None:
        """What it remembers stops growing, however many different questions are asked."""
        async with self.open(self.scripted(), config=self.tight) as argo:
            half = await self._remembers(argo, range(_MANY))
            whole = await self._remembers(argo, range(_MANY, 2 * _MANY))
        assert whole - half < _MANY // 2, (
            f"layer {self.name!r} remembers {half} items after {_MANY} different questions, and "
            f"{whole} after as many more: its state has no bound. Give it one; if it has one, let "
            "`tight` name the configuration that makes it small"
        )

    @pytest.mark.asyncio
    async def test_it_keeps_its_state_bounded_in_shadow_too(self) -> None:
        """What it keeps to compare with later answers stops growing as well."""
        async with self.open(self.scripted()) as argo:
            able = any(isinstance(layer.middleware, Shadows) for layer in self._layers(argo))
        if not able:
            return
        async with self.open(self.scripted(), flag="shadow", config=self.tight) as argo:
            half = await self._remembers(argo, range(_MANY))
            whole = await self._remembers(argo, range(_MANY, 2 * _MANY))
        assert whole - half < _MANY // 2, (
            f"in shadow, layer {self.name!r} remembers {half} items after {_MANY} different "
            f"questions, and {whole} after as many more: what it keeps has no bound. Give it one "
            "that `tight` makes small"
        )

    def _about(self, subject: str) -> dict[str, object]:
        """Return the parameters of a question about *subject*."""
        return {self.operation.subject: subject}

    def _call(self, argo: Argo, subject: str) -> Call:
        """Return the call that asks about *subject*."""
        return context_of(argo).make_call(
            self.operation.name, argo.settings.argo.tenant, self._about(subject)
        )

    def _layers(self, argo: Argo) -> Sequence[Layer]:
        """Return the plugin's layers."""
        return engine_of(argo).pipeline.contributions[self.name].layers

    def _outer(self, argo: Argo) -> Sequence[Layer]:
        """Return those of its layers whose ``find`` the core calls."""
        return [layer for layer in engine_of(argo).pipeline.order.outer if layer.flag == self.name]

    async def _found(self, layer: Layer, call: Call, *, awaited: bool) -> Outcome | None:
        """Return what *layer* finds; close what it would have to wait for, unless *awaited*."""
        middleware = layer.middleware
        found = middleware.find(call) if isinstance(middleware, Finds) else None
        if found is None or isinstance(found, Outcome):
            return found
        if not awaited:
            found.close()
            return None
        async with asyncio.timeout(_TIMEOUT):
            return await found

    def _check_none_failed(self, bypassed: Sequence[LayerBypassed]) -> None:
        failed = [f"{event.layer}: {event.error!r}" for event in bypassed]
        assert failed == [], f"it failed and was bypassed: {', '.join(failed)}"

    async def _only(self, argo: Argo, idle: list[str]) -> None:
        """Wait until no background task runs but those called *idle*, which work for all calls."""
        late = time.monotonic() + _TIMEOUT
        while engine_of(argo).tasks.names != idle:
            names = ", ".join(engine_of(argo).tasks.names)
            assert time.monotonic() < late, f"tasks outlive the call that started them: {names}"
            await asyncio.sleep(0)

    async def _remembers(self, argo: Argo, numbers: range) -> int:
        """How many items its layer holds once the questions with these *numbers* are answered."""
        for number in numbers:
            await argo.call(self.operation.name, **self._about(f"S{number}"))
            await settle()  # a layer in shadow looks at an answer in a task of its own
        context = context_of(argo)
        outside = [argo, context, engine_of(argo), *vars(context).values()]
        return sum(remembered(layer.middleware, outside=outside) for layer in self._layers(argo))


def _can_be_changed(kind: type) -> bool:
    """Return whether *kind* is a class written in Python."""
    return bool(kind.__flags__ & _HEAP_TYPE) and kind is not functools.partial


def _failing(*_: object) -> object:
    msg = "this layer fails for a test"
    raise ValueError(msg)


async def _failing_async(*_: object) -> None:
    _failing()


def _counted(method: Callable[..., Awaitable[None]], counts: Counter[str]) -> object:
    """Return *method*, which counts how often it was awaited to its end."""

    @functools.wraps(method)
    async def counting(*args: object) -> None:
        await method(*args)
        counts[method.__name__] += 1

    return counting


def _essence(outcome: Outcome) -> tuple[object, ...]:
    return (outcome.value, outcome.upstream, outcome.via, outcome.as_of, outcome.expires_at)
