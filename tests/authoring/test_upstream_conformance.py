"""The contract of upstreams passes one that keeps it, and catches those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from argo_mw import Action, Outcome, UpstreamError
from argo_mw.plugin import Call, Upstream, operation
from argo_mw.testing import FakePlugin, FakeService, UpstreamConformance

Fetch = Callable[[FakeService, Call], Awaitable[Outcome]]


@operation(subject="symbol")
def quote(symbol: str) -> object:
    """A quote."""


async def fetch_well(service: FakeService, call: Call) -> Outcome:
    if not await service.visit():
        msg = "down"
        raise UpstreamError(msg, upstream="vendor", action=Action.RETRY)
    return Outcome(call.subject)


async def fetch_with_bare_errors(service: FakeService, call: Call) -> Outcome:
    if not await service.visit():
        raise ConnectionError
    return Outcome(call.subject)


async def fetch_shielded(service: FakeService, call: Call) -> Outcome:
    asking = asyncio.ensure_future(service.visit())
    try:
        await asyncio.shield(asking)
        return Outcome(call.subject)
    finally:
        # Only so that this test leaves no task behind: too late for the contract.
        asyncio.get_running_loop().call_later(1.0, asking.cancel)


async def fetch_twice(service: FakeService, call: Call) -> Outcome:
    await service.visit()
    return await fetch_well(service, call)


async def fetch_with_a_leak(service: FakeService, call: Call) -> Outcome:
    if not await service.visit():
        # In a URL it would be struck out, so the conformance suite would not see it.
        msg = "the vendor refuses key k-secret"
        raise UpstreamError(msg, upstream="vendor")
    return Outcome(call.subject)


class TestOneThatKeepsIt(UpstreamConformance):
    name = "vendor"
    operation = "quote"
    parameters = {"symbol": "AAPL"}  # noqa: RUF012
    secrets = ("k-secret",)
    fetch: Fetch = staticmethod(fetch_well)

    def plugin(self, service: FakeService) -> object:
        async def fetch(call: Call) -> Outcome:
            return await self.fetch(service, call)

        upstream = Upstream("vendor", [quote.name], fetch)
        return FakePlugin(operations=[quote], upstreams=[upstream])


def suite(fetch: Fetch) -> TestOneThatKeepsIt:
    broken = TestOneThatKeepsIt()
    broken.fetch = fetch
    return broken


async def test_a_request_too_many_is_caught() -> None:
    with pytest.raises(AssertionError, match="one call made 2 visits"):
        await suite(fetch_twice).test_it_answers_under_its_name()


async def test_an_error_without_an_action_is_caught() -> None:
    with pytest.raises(ConnectionError):
        await suite(fetch_with_bare_errors).test_its_errors_say_what_to_do()


async def test_a_request_that_outlives_its_caller_is_caught() -> None:
    with pytest.raises(AssertionError, match="not cancelled with its caller"):
        await suite(fetch_shielded).test_it_passes_cancellation_to_its_service()


async def test_a_secret_in_an_error_is_caught() -> None:
    with pytest.raises(AssertionError, match="a secret is shown"):
        await suite(fetch_with_a_leak).test_it_shows_no_secret()
