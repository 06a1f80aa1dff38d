"""Faults strike as configured, and are counted."""

import asyncio
import random
import statistics
from collections.abc import Callable

import httpx2
import pytest

from argo_mw_sandbox import TYPICAL, Fault, Latency, Quota, Sandbox, SandboxConfig
from argo_mw_sandbox.faults import TRANSPORT_FAULTS, FaultBoard
from argo_mw_sandbox.quotas import Meter

PATHS = {
    "alpaca": "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2013-02-01",
    "massive": "/v2/aggs/ticker/AAPL/range/1/day/2013-02-01/2013-03-01",
    "alphavantage": "/query?function=TIME_SERIES_DAILY&symbol=AAPL&apikey=key",
}
MARKET_BODIES = [
    (vendor, kind)
    for vendor in PATHS
    for kind in Sandbox(SandboxConfig()).endpoint(vendor).vendor.errors
]


async def fetch(client: httpx2.AsyncClient, sandbox: Sandbox, vendor: str) -> httpx2.Response:
    return await client.get(sandbox.url(vendor) + PATHS[vendor])


@pytest.mark.parametrize(("vendor", "kind"), MARKET_BODIES)
async def test_every_error_body_arrives_as_the_vendor_words_it(
    sandbox: Sandbox, client: httpx2.AsyncClient, vendor: str, kind: str
) -> None:
    sandbox.set_fault(vendor, kind)
    response = await fetch(client, sandbox, vendor)
    wanted = sandbox.endpoint(vendor).vendor.errors[kind]
    assert (wanted.status, wanted.body) == (response.status_code, response.content)
    counts = sandbox.counts_of(vendor)
    assert (counts.answered, counts.failed, counts.faults[kind]) == (1, 1, 1)


@pytest.mark.parametrize("vendor", PATHS)
async def test_an_empty_answer_is_well_formed(
    sandbox: Sandbox, client: httpx2.AsyncClient, vendor: str
) -> None:
    whole = await fetch(client, sandbox, vendor)
    sandbox.set_fault(vendor, "empty")
    empty = await fetch(client, sandbox, vendor)
    assert b"2013-02-" in whole.content or b"results" in whole.content
    assert empty.status_code == 200
    assert len(empty.content) < 400
    assert empty.json()


async def test_a_stale_answer_ends_three_weeks_ago(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_fault("alpaca", "stale")
    bars = (await fetch(client, sandbox, "alpaca")).json()["bars"]["AAPL"]
    assert bars[-1]["t"] == "2013-02-08T05:00:00Z"


async def test_a_reset_reaches_the_client_as_one_and_counts_as_broken(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_fault("massive", "reset")
    with pytest.raises(httpx2.ReadError):
        await fetch(client, sandbox, "massive")
    await sandbox.idle()
    counts = sandbox.counts_of("massive")
    assert (counts.requests, counts.broken, counts.disconnects, counts.answered) == (1, 1, 0, 0)


async def test_a_cut_body_is_shorter_than_promised(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_fault("massive", "cut")
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending complete"):
        await fetch(client, sandbox, "massive")
    await sandbox.idle()
    assert sandbox.counts_of("massive").broken == 1


@pytest.mark.parametrize("kind", ["stall", "trickle", "keepalive"])
async def test_who_leaves_a_slow_answer_is_counted_as_a_disconnect(
    sandbox: Sandbox, client: httpx2.AsyncClient, kind: str
) -> None:
    sandbox.set_fault("massive", Fault(kind, pace=3600))
    asking = asyncio.create_task(fetch(client, sandbox, "massive"))
    await sandbox.until(lambda: sandbox.counts_of("massive").requests == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await sandbox.idle()
    counts = sandbox.counts_of("massive")
    assert (counts.disconnects, counts.answered, counts.broken, counts.unanswered) == (1, 0, 0, 1)


@pytest.mark.parametrize("kind", ["stall", "trickle", "keepalive"])
async def test_who_waits_for_a_slow_answer_gets_it(
    sandbox: Sandbox, client: httpx2.AsyncClient, kind: str
) -> None:
    sandbox.set_fault("massive", Fault(kind, pace=0, hold=0))
    response = await fetch(client, sandbox, "massive")
    assert response.json()["resultsCount"] == 20
    assert sandbox.counts_of("massive").answered == 1


async def test_keepalive_lines_come_before_the_answer(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_fault("massive", Fault("keepalive", pace=0.001, hold=0.003))
    body = (await fetch(client, sandbox, "massive")).content
    assert body.startswith(b"\n\n\n")
    assert body.lstrip().startswith(b'{"ticker"')


async def test_a_fault_of_one_symbol_spares_the_others(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    sandbox.set_fault("massive", Fault("server_error", symbol="IBM"))
    assert (await fetch(client, sandbox, "massive")).status_code == 200
    other = sandbox.url("massive") + PATHS["massive"].replace("AAPL", "IBM")
    assert (await client.get(other)).status_code == 500


async def test_faults_are_cleared_by_vendor_or_for_all(
    sandbox: Sandbox, client: httpx2.AsyncClient
) -> None:
    for vendor in ("alpaca", "massive"):
        sandbox.set_fault(vendor, "server_error")
    sandbox.clear_faults("alpaca")
    assert (await fetch(client, sandbox, "alpaca")).status_code == 200
    assert (await fetch(client, sandbox, "massive")).status_code == 500
    sandbox.clear_faults()
    assert (await fetch(client, sandbox, "massive")).status_code == 200


def board(*faults: Fault) -> FaultBoard:
    made = FaultBoard("vendor", ["rate_limit", "quota"], random.Random(1))
    for fault in faults:
        made.set(fault, now=100.0)
    return made


def kinds(made: FaultBoard, moments: list[float]) -> list[str]:
    drawn = [made.draw(("AAPL",), moment) for moment in moments]
    return [fault.kind if fault else "" for fault in drawn]


def test_a_fault_strikes_as_often_as_configured() -> None:
    assert kinds(board(Fault("quota", times=2)), [100, 101, 102]) == ["quota", "quota", ""]


def test_a_scheduled_fault_begins_and_ends() -> None:
    made = board(Fault("outage", after=10, seconds=5))
    assert kinds(made, [109.9, 110, 114.9, 115]) == ["", "outage", "outage", ""]


def test_the_first_fault_that_strikes_wins() -> None:
    made = board(Fault("quota", times=1), Fault("rate_limit"))
    assert kinds(made, [100, 100]) == ["quota", "rate_limit"]


def test_a_share_is_kept_and_repeats_with_its_seed() -> None:
    faults = [Fault("quota", share=0.05), Fault("rate_limit", share=0.05)]
    first, second = (kinds(board(*faults), [100.0] * 10_000) for _ in range(2))
    assert first == second
    assert 0.04 < first.count("quota") / 10_000 < 0.06
    assert 0.04 < first.count("rate_limit") / 10_000 < 0.06


def test_an_unknown_fault_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="did you mean 'rate_limit'"):
        board(Fault("rate_limits"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fault("stall", share=1.1),
        lambda: Latency(median=-1.0),
        lambda: Latency(stall_share=2.0),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()


def test_every_transport_fault_is_explained() -> None:
    assert {"stall", "reset", "cut", "trickle", "keepalive", "outage"} == set(TRANSPORT_FAULTS)


def test_latencies_follow_their_distribution() -> None:
    rng = random.Random(3)
    latency = Latency(median=0.1, sigma=0.5, stall_share=0.1, stall=60.0)
    drawn = [latency.draw(rng) for _ in range(10_000)]
    usual = [seconds for seconds in drawn if seconds < 60]
    assert 0.095 < statistics.median(usual) < 0.105
    assert 0.09 < 1 - len(usual) / len(drawn) < 0.11
    assert Latency().draw(rng) == 0.0


def test_typical_latencies_name_every_vendor() -> None:
    assert set(Sandbox(SandboxConfig()).vendors) == set(TYPICAL)


async def test_an_answer_takes_its_latency(client: httpx2.AsyncClient) -> None:
    async with Sandbox(SandboxConfig(latency={"massive": Latency(median=3600)})) as sandbox:
        asking = asyncio.create_task(fetch(client, sandbox, "massive"))
        await sandbox.until(lambda: sandbox.counts_of("massive").in_flight == 1)
        assert not asking.done()
        sandbox.set_latency("massive", Latency())
        assert (await fetch(client, sandbox, "massive")).status_code == 200
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await sandbox.idle()
        assert sandbox.counts_of("massive").disconnects == 1


def test_quotas_slide_and_refusals_are_free() -> None:
    meter = Meter(Quota(per_minute=2, per_day=3))
    exceeded = [meter.charge("key", now).exceeded for now in (0, 30, 59, 60.5, 91, 86_401)]
    assert exceeded == ["", "", "minute", "", "day", ""]


def test_quotas_are_counted_for_each_key() -> None:
    meter = Meter(Quota(per_second=1))
    assert [meter.charge(key, 5.0).exceeded for key in ("a", "a", "b")] == ["", "second", ""]
