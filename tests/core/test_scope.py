"""Scope: no answer crosses from one tenant to another, whatever asks for what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import Argo, BadParameter, ConfigError, Outcome, ScopeConflict
from argo_mw.app.application import engine_of
from argo_mw.model.call import make_call
from argo_mw.plugin import (
    AnyOperation,
    Call,
    CallEnded,
    Layer,
    Next,
    Upstream,
    context_of,
    hookimpl,
    operation,
    scope_of,
)
from argo_mw.testing import FakePlugin, capture_events

KINDS = ("fetch", "compute", "llm")
TENANTS = ("A", "B", "C")


def declare(name: str, **declared: object) -> AnyOperation:
    def ask(subject: str) -> object:
        raise AssertionError

    return operation(name=name, subject="subject", **declared)(ask)  # type: ignore[arg-type]


def test_only_what_is_fetched_is_public_by_default():
    scopes = {kind: declare("some", kind=kind).scope for kind in KINDS}
    assert {"fetch": "public", "compute": "tenant", "llm": "tenant"} == scopes
    assert "public" == declare("some", kind="compute", scope="public").scope


@pytest.mark.parametrize(
    "declared",
    [{"kind": "llm", "scope": "public"}, {"scope": "Public"}, {"scope": ""}, {"kind": "LLM"}],
)
def test_a_scope_that_cannot_be_is_refused(declared):
    with pytest.raises(ValueError, match=r"scope|kind"):
        declare("some", **declared)


@given(st.text(), st.text(), st.sampled_from(KINDS), st.sampled_from(["public", "tenant"]))
def test_calls_of_two_tenants_share_a_key_just_where_they_share_answers(one, other, kind, scope):
    declared = declare("some", kind=kind, scope="tenant" if kind == "llm" else scope)
    calls = [make_call(declared, {"subject": "x"}, tenant=tenant) for tenant in (one, other)]
    shared = declared.scope == "public" or one == other
    for keys in ({c.key for c in calls}, {c.bind("u").branch_key for c in calls}):
        assert (1 if shared else 2) == len(keys)
    assert (1 if shared else 2) == len({call.batch_key for call in calls})
    assert ["" if declared.scope == "public" else t for t in (one, other)] == [
        call.owner for call in calls
    ]


@given(st.text())
def test_what_a_tenant_has_never_shares_a_key_with_what_all_have(tenant):
    """Also not where a changed configuration makes a tenant's operation public."""
    own = declare("some", kind="compute")
    shared = evolve(own, scope="public")
    one, other = (make_call(o, {"subject": "x"}, tenant=tenant) for o in (own, shared))
    assert one.key != other.key
    assert one.batch_key != other.batch_key


@pytest.mark.parametrize("config", [{"tenant": ""}])
def test_a_tenant_has_a_name_in_the_configuration(config):
    with pytest.raises(ConfigError, match="tenant"):
        Argo.open({"argo": config}, installed=False)


async def test_a_tenant_has_a_name_in_options():
    async with Argo.open({"argo": {"shared": "memory://"}}, installed=False) as argo:
        with pytest.raises(BadParameter, match="tenant"):
            argo.options(tenant="")


@pytest.mark.parametrize("tenant", [1, 1.0, True, b"A", (), ["A"], object(), "\ud800"])
async def test_a_tenant_is_a_text_that_can_be_stored(tenant):
    """Of others, some would be equal to each other, and share what is theirs."""
    plugin = FakePlugin(operations=[declare("own", scope="tenant")])
    config = {"argo": {"shared": "memory://"}}
    async with Argo.open(config, plugins={"own": plugin}, installed=False) as argo:
        with pytest.raises(BadParameter, match="tenant"):
            argo.options(tenant=tenant)
        with pytest.raises(BadParameter, match="tenant"):
            context_of(argo).make_call("own", tenant, {"subject": "x"})


@frozen
class Graph:
    """Operations and what each asks, for any of which those before it can be asked."""

    operations: Sequence[AnyOperation]
    asks: Mapping[str, Sequence[tuple[str, bool]]]
    """The names of what each asks, and whether it does without where that is refused."""


@st.composite
def graphs(draw: Callable[..., object]) -> Graph:
    operations: list[AnyOperation] = []
    asks: dict[str, list[tuple[str, bool]]] = {}
    for number in range(draw(st.integers(2, 6))):  # type: ignore[arg-type]
        kind = draw(st.sampled_from(KINDS))
        scope = draw(st.sampled_from([None] if kind == "llm" else [None, "public", "tenant"]))
        name = f"o{number}"
        known = [one.name for one in operations]
        edges = st.tuples(st.sampled_from(known or [""]), st.booleans())
        several = st.lists(edges, max_size=min(number, 3), unique_by=lambda edge: edge[0])
        asks[name] = draw(several)  # type: ignore[assignment]
        operations.append(declare(name, kind=kind, scope=scope))
    return Graph(operations, asks)


def owners(value: object) -> set[str]:
    """The tenants whose answers are in *value*."""
    return set(str(value).replace("(", " ").replace(")", " ").split()) & set(TENANTS)


class Asking(FakePlugin):
    """A plugin whose operations are made of each other, as *graph* says.

    Attributes:
        answered: The calls that reached an upstream.
    """

    def __init__(self, graph: Graph, *, by_map: bool = False, layers: Iterable[Layer] = ()) -> None:
        upstream = Upstream("u", [one.name for one in graph.operations], self._fetch)
        super().__init__(operations=graph.operations, upstreams=[upstream], layers=layers)
        self._graph = graph
        self._by_map = by_map
        self.answered: list[Call] = []

    async def _fetch(self, call: Call) -> Outcome:
        self.answered.append(call)
        parts = [call.owner]
        for name, does_without in self._graph.asks[call.operation.name]:
            try:
                parts.append(await self._ask(call, name))
            except ScopeConflict:
                if not does_without:
                    raise
        return Outcome(f"({' '.join(parts)})")

    async def _ask(self, call: Call, name: str) -> str:
        assert self.context is not None
        if not self._by_map:
            return str((await self.context.call(call, name, subject=call.subject)).value)
        found = await self.context.map(call, name, [call.subject])
        [answer] = found.values()
        if isinstance(answer, Exception):
            raise answer
        return str(answer.value)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), by_map=st.booleans(), order=st.permutations(TENANTS * 2))
def test_no_answer_is_made_of_another_tenants(graph, by_map, order):
    async def check() -> None:
        plugin = Asking(graph, by_map=by_map)
        config = {"argo": {"shared": "memory://", "strict": True}}
        async with Argo.open(config, plugins={"asking": plugin}, installed=False) as argo:
            scopes = {one.name: one.scope for one in graph.operations}
            for tenant in order:
                caller = argo.options(tenant=tenant)
                for one in graph.operations:
                    allowed = set() if scopes[one.name] == "public" else {tenant}
                    with suppress(ScopeConflict):
                        assert owners(await caller.call(one.name, subject="x")) <= allowed
            for call in plugin.answered:
                above = [key.partition(":")[0] for key in call.ancestors]
                if call.operation.scope == "tenant":
                    assert all(scopes[name] == "tenant" for name in above), "asked for the public"

    asyncio.run(check())


async def test_a_refused_question_is_looked_for_nowhere():
    """Not even where a layer has its answer at hand."""
    looked: list[str] = []

    class Layered:
        def find(self, call: Call) -> None:
            looked.append(call.operation.name)

        async def __call__(self, call: Call, call_next: Next) -> Outcome:
            return await call_next(call)

    operations = [declare("private", scope="tenant"), declare("shared", scope="public")]
    graph = Graph(operations, {"private": [], "shared": [("private", False)]})
    plugin = Asking(graph, layers=[Layer("asking", Layered())])
    config = {"argo": {"shared": "memory://", "strict": True}}
    async with Argo.open(config, plugins={"asking": plugin}, installed=False) as argo:
        await argo.call("private", subject="x")
        del looked[:], plugin.answered[:]
        with pytest.raises(ScopeConflict, match="shared is public.*it asks private"):
            await argo.call("shared", subject="x")
        parent = context_of(argo).make_call("shared", "A", {"subject": "x"})
        with pytest.raises(ScopeConflict):
            await context_of(argo).map(parent, "private", ["x", "y"])
    assert ["shared"] == looked
    assert ["shared"] == [call.operation.name for call in plugin.answered]


async def test_a_wrapped_function_that_is_public_cannot_ask_for_a_tenants_answers():
    argo = Argo.open({"argo": {"shared": "memory://"}}, installed=False)
    asked: list[str] = []

    @argo.wrap(name="model", kind="llm", subject="prompt")
    async def model(prompt: str) -> str:
        asked.append(prompt)
        return "private"

    @argo.wrap(name="briefing")
    async def briefing(symbol: str) -> str:
        return await model(symbol)

    @argo.wrap(name="deep")
    async def deep(symbol: str) -> str:
        return await briefing(symbol)

    @argo.wrap(name="mapped", scope="public", kind="compute")
    async def mapped(symbol: str) -> object:
        caller = argo.options(tenant="other")
        return await asyncio.create_task(caller.call("model", prompt=symbol))

    @argo.wrap(name="many")
    async def many(symbol: str) -> object:
        return await argo.map("model", [symbol])

    async with argo:
        for function in (briefing, deep, mapped, many):
            with pytest.raises(ScopeConflict, match="it asks model"):
                await function("AAPL")
        assert [] == asked
        assert "private" == await model("AAPL")


async def test_what_a_wrapped_function_asks_is_asked_for_its_tenant():
    argo = Argo.open({"argo": {"shared": "memory://"}}, installed=False)

    @argo.wrap(name="model", scope="tenant")
    async def model(prompt: str) -> str:
        return "said"

    @argo.wrap(name="summary", kind="compute")
    async def summary(symbol: str) -> object:
        said = await model(symbol), await argo.call("model", prompt=symbol)
        named = await argo.options(tenant="fixed").call("model", prompt=symbol)
        return *said, named

    async with argo:
        events = capture_events(argo)
        for tenant in ("A", "B"):
            await argo.options(tenant=tenant).call("summary", symbol="AAPL")
        await summary("AAPL")
    asked = [ended.call for ended in events.of(CallEnded)]
    assert ["A", "A", "fixed", "B", "B", "fixed", "default", "default", "fixed"] == [
        call.tenant for call in asked if call.operation.name == "model"
    ]


async def test_a_task_that_outlives_a_wrapped_function_asks_for_itself():
    argo = Argo.open({"argo": {"shared": "memory://"}}, installed=False)
    later = asyncio.Event()
    started: list[asyncio.Task[object]] = []

    @argo.wrap(name="model", scope="tenant")
    async def model(prompt: str) -> str:
        return "said"

    async def poll() -> object:
        await later.wait()
        return await model("x")

    @argo.wrap(name="first")
    async def first(symbol: str) -> str:
        started.append(asyncio.create_task(poll()))
        return symbol

    async with argo:
        await first("AAPL")
        later.set()
        assert "said" == await started[0]


async def test_another_application_keeps_its_own_tenants():
    outer = Argo.open({"argo": {"shared": "memory://"}}, installed=False)
    inner = Argo.open({"argo": {"shared": "memory://"}}, installed=False)

    @inner.wrap(name="model", scope="tenant")
    async def model(prompt: str) -> str:
        return "said"

    @outer.wrap(name="page")
    async def page(symbol: str) -> str:
        return await model(symbol)

    async with outer, inner:
        assert "said" == await page("AAPL")


class Derives(FakePlugin):
    """A plugin with an operation that asks those that are named."""

    def __init__(self, name: str, asks: Sequence[str], **brought: object) -> None:
        super().__init__(**brought)  # type: ignore[arg-type]
        self._name = name
        self._asks = asks

    @hookimpl
    def register_derived_operations(
        self, operations: Mapping[str, AnyOperation]
    ) -> list[AnyOperation]:
        return [declare(self._name, kind="compute", scope=scope_of(self._asks, operations))]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
@pytest.mark.parametrize("scope", ["public", "tenant"])
async def test_scopes_are_derived_through_several_plugins_in_any_order(order, scope):
    first, second, third = order
    plugins = {
        first: Derives("one", ["base"], operations=[declare("base", scope=scope)]),
        second: Derives("two", ["one", "missing"]),
        third: Derives("three", ["two"]),
    }
    config = {"argo": {"shared": "memory://", "strict": True}}
    async with Argo.open(config, plugins=plugins, installed=False) as argo:
        operations = engine_of(argo).pipeline.operations
        assert [scope] * 3 == [operations[name].scope for name in ("one", "two", "three")]


async def test_a_derived_operation_follows_what_is_wrapped_later():
    config = {"argo": {"shared": "memory://"}}
    argo = Argo.open(config, plugins={"a": Derives("made", ["base"])}, installed=False)
    async with argo:
        assert "public" == engine_of(argo).pipeline.operations["made"].scope

        @argo.wrap(name="base", scope="tenant")
        async def base(subject: str) -> str:
            return subject

        assert "tenant" == engine_of(argo).pipeline.operations["made"].scope


async def test_what_is_derived_anew_and_is_equal_is_no_change():
    changes: list[str] = []
    base = declare("made", kind="compute")

    class Watched(FakePlugin):
        @hookimpl
        def register_derived_operations(
            self, operations: Mapping[str, AnyOperation]
        ) -> list[AnyOperation]:
            return [evolve(base, scope=scope_of(["base"], operations))]

        @hookimpl
        async def config_changed(self) -> None:
            changes.append("changed")

    argo = Argo.open({"argo": {"shared": "memory://"}}, plugins={"a": Watched()}, installed=False)
    async with argo:
        await argo.reload({"argo": {"shared": "memory://"}})
    assert [] == changes


async def test_one_that_cannot_derive_is_left_out_alone():
    class Fails(FakePlugin):
        @hookimpl
        def register_derived_operations(self) -> object:
            msg = "no"
            raise ConfigError(msg)

    config = {"argo": {"shared": "memory://"}}
    plugins = {"a": Derives("made", []), "b": Fails()}
    async with Argo.open(config, plugins=plugins, installed=False) as argo:
        assert ["b"] == [broken.plugin for broken in argo.broken]
        assert "made" in engine_of(argo).pipeline.operations
