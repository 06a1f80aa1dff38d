"""The contract of operations passes plugins that keep it, and catches those that do not."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import pytest

from argo_mw import Argo, Outcome, ScopeConflict
from argo_mw.plugin import AnyOperation, Call, Context, Upstream, operation
from argo_mw.testing import FakePlugin, OperationConformance

Fetch = Callable[[Context, Call], Awaitable[Outcome]]


@operation(subject="symbol")
def price(symbol: str) -> float:
    """A price, as another plugin offers it."""
    raise AssertionError


@operation(subject="symbol", scope="tenant")
def view(symbol: str) -> str:
    """An opinion, as another plugin offers it."""
    raise AssertionError


def advice(scope: str) -> AnyOperation:
    @operation(name="advice", kind="compute", scope=scope, subject="symbol")  # type: ignore[arg-type]
    def ask(symbol: str) -> str:
        raise AssertionError

    return ask


async def ask_price(context: Context, call: Call) -> Outcome:
    return await context.call(call, "price", symbol=call.subject)


async def ask_view(context: Context, call: Call) -> Outcome:
    return await context.call(call, "view", symbol=call.subject)


async def ask_view_if_allowed(context: Context, call: Call) -> Outcome:
    try:
        return await ask_view(context, call)
    except ScopeConflict:
        return Outcome("nobody has a view")


class Advisor(FakePlugin):
    """A plugin with one operation, answered by *fetch*."""

    def __init__(self, scope: str, fetch: Fetch) -> None:
        async def answer(call: Call) -> Outcome:
            assert self.context is not None
            return await fetch(self.context, call)

        upstream = Upstream("advisor", ["advice"], answer)
        super().__init__(operations=[advice(scope)], upstreams=[upstream])


class TestPublicOfPublic(OperationConformance):
    name = "advisor"
    plugin: object = Advisor("public", ask_price)
    parameters = {"advice": {"symbol": "AAPL"}}  # noqa: RUF012
    public = ("advice",)
    asked = (price, view)
    answers = {"price": 1.5, "view": lambda call: f"as {call.tenant} sees it"}  # noqa: RUF012


class TestTenants(TestPublicOfPublic):
    plugin = Advisor("tenant", ask_view)
    public = ()


def suite(plugin: object, *, public: tuple[str, ...] = ("advice",)) -> TestPublicOfPublic:
    made = TestPublicOfPublic()
    made.plugin, made.public = plugin, public  # type: ignore[assignment]
    return made


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


async def test_a_public_operation_that_asks_a_tenants_is_caught(monkeypatch):
    with pytest.raises(AssertionError, match="advice cannot be answered: advice is public"):
        await suite(Advisor("public", ask_view)).test_it_asks_what_its_scope_allows(monkeypatch)


async def test_one_that_does_without_what_it_may_not_ask_is_caught(monkeypatch):
    broken = suite(Advisor("public", ask_view_if_allowed))
    with pytest.raises(AssertionError, match="advice lacks what it may not ask"):
        await broken.test_it_asks_what_its_scope_allows(monkeypatch)


async def test_one_that_asks_past_the_chain_is_caught(monkeypatch):
    opened: list[Argo] = []

    async def ask_around(context: Context, call: Call) -> Outcome:
        # In a context of its own, as a task that is served by a queue: the chain cannot see it.
        around = opened[-1].outcome("view", symbol=call.subject)
        return await asyncio.create_task(around, context=contextvars.Context())

    class Opens(TestPublicOfPublic):
        plugin = Advisor("public", ask_around)

        def open(self, asked):
            opened.append(super().open(asked))
            return opened[-1]

    with pytest.raises(AssertionError, match=r"asked view AAPL for 'default' to answer 'one'"):
        await Opens().test_it_asks_what_its_scope_allows(monkeypatch)


async def test_an_operation_that_is_not_listed_is_caught():
    broken = suite(Advisor("public", ask_price))
    broken.parameters = {}
    with pytest.raises(AssertionError, match="list every operation"):
        await broken.test_every_operation_is_listed_with_its_scope()


@pytest.mark.parametrize(("scope", "public"), [("public", ()), ("tenant", ("advice",))])
async def test_a_scope_that_is_not_listed_is_caught(scope, public):
    broken = suite(Advisor(scope, ask_price), public=public)
    with pytest.raises(AssertionError, match="list what tenants share"):
        await broken.test_every_operation_is_listed_with_its_scope()
