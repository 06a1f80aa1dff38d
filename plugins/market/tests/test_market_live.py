"""``argo-mw doctor --live`` and the vendors: the form of their answers, and what it costs."""

from __future__ import annotations

import json

import pytest

from argo_mw.cli import live
from argo_mw_market.massive import _Page
from argo_mw_market.shapes import differences
from argo_mw_sandbox import Sandbox
from argo_mw_sandbox.vendors.protocol import Answer

VENDORS = ("alpaca", "massive", "alphavantage")


async def test_every_vendor_is_asked_once_and_answers_as_expected(
    sandbox: Sandbox, open_argo
) -> None:
    async with open_argo(*VENDORS) as argo:
        questions, rest = live.plan(argo)
        expected = (
            "alphavantage: bars symbol='IBM' timeframe='1Day' days=7: 1 request of 10000 a day"
        )
        assert expected in [str(one) for one in questions]
        assert [0, 0, 0] == [sandbox.counts()[vendor]["requests"] for vendor in VENDORS]
        findings = await live.ask(questions)
    assert [] == rest
    assert sorted(VENDORS) == [one.where for one in findings]
    for one in findings:
        assert one.well, one.found
        assert one.found.endswith("as expected")
        assert 1 == sandbox.counts()[one.where]["requests"]


async def test_a_vendor_without_a_key_is_not_asked(sandbox: Sandbox, open_argo) -> None:
    async with open_argo(massive={"url": sandbox.url("massive")}) as argo:
        questions, (finding,) = live.plan(argo)
    assert ["alpaca", "alphavantage"] == [one.call.upstream for one in questions]
    assert "not asked: it has no key: set MASSIVE_API_KEY" in finding.found


async def test_an_error_and_a_new_field_are_findings(
    sandbox: Sandbox, open_argo, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.set_fault("alpaca", "sip")
    made = type(sandbox.endpoint("massive").vendor)
    answer = made.answer

    def with_more(*arguments: object) -> Answer:
        body = json.loads(answer(*arguments).body)
        return Answer(json.dumps({**body, "delayed_by": 15}).encode())

    monkeypatch.setattr(made, "answer", with_more)
    async with open_argo(*VENDORS) as argo:
        questions, _ = live.plan(argo)
        findings = {one.where: one for one in await live.ask(questions)}
    assert "the plan does not include this" in findings["alpaca"].found
    assert findings["massive"].found.endswith("not as expected: field delayed_by is new")
    assert [False, True, False] == [findings[name].well for name in sorted(findings)]


def test_what_a_vendor_documents_and_nobody_reads_is_not_new() -> None:
    bar = {**dict.fromkeys("tohlcv", 1), "vw": 1.0, "n": 3}
    body = {"status": "OK", "results": [bar, {**bar, "z": 1}], "ticker": "IBM", "also": [1]}
    assert ["field also is new", "field results.z is new"] == differences(
        "massive", json.dumps(body).encode(), _Page
    )
