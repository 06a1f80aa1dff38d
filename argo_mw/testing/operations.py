"""The contract of operations, as tests that every operation of a plugin must pass.

Subclass :class:`OperationConformance` in a test module, list the plugin's operations, and pytest
does the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import pytest
from attrs import evolve

from argo_mw.app import engine as engine_module
from argo_mw.app.application import Argo, engine_of
from argo_mw.app.scope import check_scope
from argo_mw.base.clock import Clock
from argo_mw.base.errors import ArgoError, ScopeConflict
from argo_mw.model.call import Call
from argo_mw.model.events import CallEnded
from argo_mw.model.operation import AnyOperation
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.events import capture_events
from argo_mw.testing.isolation import IsolatedTests
from argo_mw.testing.plugins import FakePlugin
from argo_mw.testing.upstreams import Scripted

_SERVICE = "service"
_TENANTS = ("one", "two")


class OperationConformance(IsolatedTests):
    """What every operation must hold to; a subclass sets the first three attributes at least.

    Attributes:
        name: The plugin's name.
        plugin: The module, class or object that is its entry point.
        parameters: Those of a call of each operation that the plugin offers, by operation.
        public: The operations whose answers tenants share. That is a promise about what they are
            made of, so it is written down here too.
        answers: What comes in place of a service, by operation: a value, or a function of the call.
            The plugin's own upstreams answer the rest.
        asked: Operations of other plugins that these ask, and which need an answer too.
        config: The plugin's table in the configuration.
        plugins: Further plugins that it needs, by name.
    """

    name: str
    plugin: object
    parameters: Mapping[str, Mapping[str, object]]
    public: Collection[str] = ()
    answers: Mapping[str, object] = {}
    asked: Sequence[AnyOperation] = ()
    config: Mapping[str, object] = {}
    plugins: Mapping[str, object] = {}

    def clock(self) -> Clock:
        """Return the clock of the application."""
        return FakeClock()

    def open(self, asked: Sequence[AnyOperation]) -> Argo:
        """Return an application with the plugin, what it needs, and the operations *asked*."""
        service = Scripted(_SERVICE, set(self.answers), self._answer)
        settings = {
            "argo": {"shared": "memory://", "strict": True},
            "operations": {name: {"upstreams": [_SERVICE]} for name in self.answers},
            "plugins": {self.name: self.config} if self.config else {},
        }
        return Argo.open(
            settings,
            clock=self.clock(),
            plugins={
                **self.plugins,
                self.name: self.plugin,
                "kit": FakePlugin(operations=asked, upstreams=[service]),
            },
            installed=False,
        )

    @pytest.mark.asyncio
    async def test_every_operation_is_listed_with_its_scope(self) -> None:
        """None is offered that nobody has looked at, and none is public by accident."""
        async with self.open(self.asked) as argo:
            offered = {operation.name: operation for operation in self._offered(argo)}
        assert set(self.parameters) == set(offered), "list every operation in `parameters`"
        public = {name for name, operation in offered.items() if operation.scope == "public"}
        assert set(self.public) == public, "list what tenants share in `public`, and only that"

    @pytest.mark.asyncio
    async def test_keys_are_shared_just_where_answers_are(self) -> None:
        """Two tenants have one key for what is public, and two for the rest; so have batches."""
        for asked in (self.asked, _of_a_tenant(self.asked)):
            async with self.open(asked) as argo:
                for operation in self._offered(argo):
                    one, two = (self._call(argo, operation, tenant) for tenant in _TENANTS)
                    shared = operation.scope == "public"
                    assert shared == (one.key == two.key), operation.name
                    assert shared == (one.batch_key == two.batch_key), operation.name
                    owners = ("", "") if shared else _TENANTS
                    assert (one.owner, two.owner) == owners, operation.name

    @pytest.mark.asyncio
    async def test_it_asks_what_its_scope_allows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A public answer is made of public ones, a tenant's of its own and public ones."""
        async with self.open(self.asked) as argo:
            await self._check_what_is_asked(argo, monkeypatch, may_fail=False)

    @pytest.mark.asyncio
    async def test_its_scope_follows_what_it_asks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where what it asks is a tenant's, so are its answers, or it has none."""
        async with self.open(_of_a_tenant(self.asked)) as argo:
            await self._check_what_is_asked(argo, monkeypatch, may_fail=True)

    async def _check_what_is_asked(
        self, argo: Argo, monkeypatch: pytest.MonkeyPatch, *, may_fail: bool
    ) -> None:
        for operation in self._offered(argo):
            for tenant in _TENANTS:
                events, conflicts = capture_events(argo), _conflicts(monkeypatch)
                caller = argo.options(tenant=tenant)
                try:
                    await caller.call(operation.name, **self.parameters[operation.name])
                except ScopeConflict:
                    assert may_fail, f"{operation.name} cannot be answered: {next(conflicts)}"
                except ArgoError:
                    if not may_fail:
                        raise
                if not may_fail:
                    refused = list(conflicts)
                    assert not refused, f"{operation.name} lacks what it may not ask: {refused}"
                for ended in events.of(CallEnded):
                    owner = ended.call.owner
                    allowed = ("",) if operation.scope == "public" else ("", tenant)
                    assert owner in allowed, (
                        f"{operation.name} ({operation.scope}) asked {ended.call.label} for "
                        f"{owner!r} to answer {tenant!r}: ask with context.call(call, …)"
                    )

    def _offered(self, argo: Argo) -> Sequence[AnyOperation]:
        pipeline = engine_of(argo).pipeline
        names = [one.name for one in pipeline.contributions[self.name].all_operations]
        return [pipeline.operations[name] for name in names]

    def _call(self, argo: Argo, operation: AnyOperation, tenant: str) -> Call:
        parameters = dict(self.parameters[operation.name])
        return engine_of(argo).make_call(operation.name, tenant, parameters)

    def _answer(self, call: Call) -> object:
        answer = self.answers[call.operation.name]
        return answer(call) if callable(answer) else answer


def _of_a_tenant(operations: Sequence[AnyOperation]) -> Sequence[AnyOperation]:
    return [evolve(operation, scope="tenant") for operation in operations]


def _conflicts(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield what public operations were refused from now on, also where that was caught."""
    found: list[str] = []

    def check(asking: AnyOperation, asked: AnyOperation) -> None:
        try:
            check_scope(asking, asked)
        except ScopeConflict as error:
            found.append(str(error))
            raise

    monkeypatch.setattr(engine_module, "check_scope", check)
    return iter(found)
