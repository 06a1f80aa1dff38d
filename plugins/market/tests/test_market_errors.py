"""Every error body of every vendor ends in the action that the reference promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from argo_mw import Argo, QuotaExceeded, UpstreamError
from argo_mw_market import MarketPlugin, alpaca, alphavantage, massive
from argo_mw_market.failures import Failure, judge
from argo_mw_sandbox import Fault, Sandbox

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "vendor-errors.md"
VENDORS = ("alpaca", "massive", "alphavantage")


def rows(columns: int) -> list[list[str]]:
    """The rows of the reference's table with so many columns."""
    lines = [
        line.strip(" |\n") for line in REFERENCE.read_text("utf-8").splitlines() if "|" in line
    ]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    wanted = [row for row in cells if len(row) == columns]
    return [row for row in wanted if row[0] not in ("vendor", "case") and "--" not in row[0]]


ERRORS = rows(6)
SHARED = rows(4)
UNSHOWN = rows(5)
RULES = {"alpaca": alpaca.RULES, "massive": massive.RULES, "alphavantage": alphavantage.RULES}


SLOW = ("stall", "trickle", "keepalive")


def quickly(sandbox: Sandbox, vendor: str, timeout: float = 10.0) -> dict[str, object]:
    """A configuration that asks *vendor* once."""
    keys = {"alpaca": {"key": "k", "secret": "s"}, "alphavantage": {"paid": True}}
    table = {"key": "k", "url": sandbox.url(vendor), **keys.get(vendor, {})}
    return {
        "argo": {"shared": "memory://", "strict": True},
        "operations": {"bars": {"upstreams": [vendor]}, "news": {"upstreams": [news_of(vendor)]}},
        "upstreams": {vendor: {"retries": 0, "timeout": timeout, "per_second": 0, "per_day": 1000}},
        "plugins": {"market": {vendor: table}},
    }


def news_of(vendor: str) -> str:
    return vendor if vendor != "massive" else "alpaca"


def opened(sandbox: Sandbox, vendor: str, timeout: float = 10.0) -> Argo:
    return Argo.open(
        quickly(sandbox, vendor, timeout),
        plugins={"market": MarketPlugin()},
        installed=False,
        clock=sandbox.clock,
    )


@pytest.mark.parametrize(
    ("vendor", "case", "answer", "action", "kind"), [row[:5] for row in ERRORS]
)
async def test_a_vendors_error_ends_in_the_promised_action(
    sandbox, vendor: str, case: str, answer: str, action: str, kind: str
) -> None:
    sandbox.set_fault(vendor, case)
    async with opened(sandbox, vendor) as argo:
        if action == "answer":
            assert () == await argo.call("news", symbol="AAPL")
            return
        operation = "news" if case == "invalid_inputs" else "bars"
        with pytest.raises(UpstreamError) as failed:
            await argo.call(operation, symbol="AAPL")
    status, _, begins = answer.partition(" ")
    expected = {"code": status, "body": begins}
    body = sandbox.endpoint(vendor).vendor.errors[case]
    assert expected["code"] == str(body.status)
    assert expected["body"] in body.body.decode().replace("\n", "")
    assert action == failed.value.action.value
    assert kind == type(failed.value).__name__
    assert f"upstream {vendor!r}" in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("case", "action", "kind"), [(r[0], r[2], r[3]) for r in SHARED])
async def test_a_shared_fault_ends_in_the_promised_action(
    sandbox, vendor: str, case: str, action: str, kind: str
) -> None:
    sandbox.set_fault(vendor, Fault(case, pace=0.01))
    async with opened(sandbox, vendor, 0.1 if case in SLOW else 10.0) as argo:
        with pytest.raises(UpstreamError) as failed:
            await argo.call("bars", symbol="AAPL")
    assert action == failed.value.action.value
    assert kind == type(failed.value).__name__


@pytest.mark.parametrize(("vendor", "answer", "action", "kind"), [row[:4] for row in UNSHOWN])
def test_errors_beyond_the_sandbox_mean_what_the_reference_says(
    vendor: str, answer: str, action: str, kind: str
) -> None:
    status, _, text = answer.partition(" ")
    error = judge(vendor, RULES[vendor], Failure(int(status), text))
    assert (action, kind) == (error.action.value, type(error).__name__)


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_reference_has_a_row_for_every_rule_of_the_client(vendor: str) -> None:
    answers = [r[2] for r in ERRORS if r[0] == vendor] + [r[1] for r in UNSHOWN if r[0] == vendor]
    parts = [answer.partition(" ") for answer in answers]
    firsts = [
        next((rule for rule in RULES[vendor] if rule.fits(int(status), text)), None)
        for status, _, text in parts
    ]
    assert [] == [rule.meaning for rule in RULES[vendor] if rule not in firsts]


@pytest.mark.parametrize(("status", "action"), [(302, "switch"), (418, "switch"), (529, "retry")])
def test_an_undocumented_status_has_an_action_too(status: int, action: str) -> None:
    for vendor in ("alpaca", "massive"):
        assert action == judge(vendor, RULES[vendor], Failure(status, "")).action.value


def test_the_reference_names_every_error_that_the_sandbox_has(sandbox: Sandbox) -> None:
    for vendor in VENDORS:
        named = {row[1] for row in ERRORS if row[0] == vendor}
        assert set(sandbox.endpoint(vendor).vendor.errors) == named


@pytest.mark.parametrize("vendor", ["massive", "alphavantage"])
async def test_a_used_up_quota_holds_for_the_next_request(sandbox, vendor: str) -> None:
    case = "note" if vendor == "alphavantage" else "rate_limit"
    sandbox.set_fault(vendor, case)
    async with opened(sandbox, vendor) as argo:
        with pytest.raises(UpstreamError) as failed:
            await argo.call("bars", symbol="AAPL")
        with pytest.raises(QuotaExceeded) as refused:
            await argo.call("bars", symbol="IBM")
    assert 429 == failed.value.status
    assert refused.value.retry_at is not None
    assert 0 < refused.value.retry_at - sandbox.clock.time() <= 60
    assert 1 == sandbox.counts()[vendor]["requests"]


async def test_alpacas_headers_refuse_requests_before_alpaca_does(sandbox) -> None:
    from argo_mw_sandbox import Quota

    sandbox.set_quota("alpaca", Quota(per_minute=2))
    async with opened(sandbox, "alpaca") as argo:
        await argo.call("bars", symbol="AAPL")
        await argo.call("bars", symbol="IBM")
        with pytest.raises(QuotaExceeded, match="says that its quota is used up") as refused:
            await argo.call("bars", symbol="MSFT")
        sandbox.clock.advance(61)
        assert refused.value.retry_at is not None
        assert refused.value.retry_at < sandbox.clock.time()
    assert 2 == sandbox.counts()["alpaca"]["requests"]


async def test_an_unreachable_vendor_is_reported_in_one_line_with_a_remedy(sandbox) -> None:
    config = quickly(sandbox, "alpaca")
    config["plugins"] = {
        "market": {"alpaca": {"key": "k", "secret": "s", "url": "http://127.0.0.1:9"}}
    }
    plugins = {"market": MarketPlugin()}
    async with Argo.open(config, plugins=plugins, installed=False, clock=sandbox.clock) as argo:
        with pytest.raises(UpstreamError) as failed:
            await argo.call("bars", symbol="AAPL")
    text = str(failed.value)
    assert re.search(r"cannot be reached at http://127\.0\.0\.1:9 .*check that it is up", text)
    assert "\n" not in text
