"""Keys: found, missed, and never seen."""

from __future__ import annotations

import io
import json
import logging
import traceback

import pytest
import structlog

from argo_mw import AllUpstreamsFailed, Argo, ConfigError, Outcome, UpstreamError
from argo_mw.app.application import engine_of
from argo_mw.plugin import context_of
from argo_mw.registry import Plugins
from argo_mw.testing import capture_events
from argo_mw_market import MarketPlugin, alpaca
from argo_mw_market.failures import Failure, judge
from argo_mw_sandbox import Sandbox
from argo_mw_sandbox.vendors.protocol import Answer

VENDORS = ("alpaca", "massive", "alphavantage")
VARIABLES = {
    "alpaca": {"APCA_API_KEY_ID": "id-7f3a9c", "APCA_API_SECRET_KEY": "secret-51be02"},
    "massive": {"MASSIVE_API_KEY": "massive-88d1e4"},
    "alphavantage": {"ALPHAVANTAGE_API_KEY": "vantage-c20f6b"},
}
SECRETS = [secret for pairs in VARIABLES.values() for secret in pairs.values()]


def opened(sandbox: Sandbox, *vendors: str, **table: object) -> Argo:
    market = {v: {"url": sandbox.url(v), **table} for v in VENDORS}
    upstreams = {v: {"retries": 0, "per_second": 0, "per_day": 100} for v in VENDORS}
    operations = {"bars": {"upstreams": list(vendors or VENDORS)}}
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "operations": operations,
            "upstreams": upstreams,
            "plugins": {"market": market},
        },
        plugins={"market": MarketPlugin()},
        installed=False,
        clock=sandbox.clock,
    )


@pytest.mark.parametrize("vendor", VENDORS)
async def test_keys_are_found_where_the_vendors_own_tools_look(
    sandbox, monkeypatch, vendor: str
) -> None:
    for variable, secret in VARIABLES[vendor].items():
        monkeypatch.setenv(variable, secret)
    async with opened(sandbox, vendor) as argo:
        outcome = await argo.outcome("bars", symbol="AAPL")
    assert isinstance(outcome, Outcome)
    assert vendor == outcome.upstream


async def test_the_key_under_massives_old_name_is_found(sandbox, monkeypatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "old-name")
    async with opened(sandbox, "massive") as argo:
        assert len(await argo.call("bars", symbol="AAPL")) > 50


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_missing_key_is_reported_in_one_line_with_variable_and_table(
    sandbox, vendor: str
) -> None:
    async with opened(sandbox, vendor) as argo:
        with pytest.raises(UpstreamError) as failed:
            await argo.call("bars", symbol="AAPL")
    message = str(failed.value)
    assert all(variable in message for variable in VARIABLES[vendor])
    assert f"[plugins.market.{vendor}]" in message
    assert "\n" not in message
    assert 0 == sandbox.counts()[vendor]["requests"]


async def test_half_of_a_pair_of_keys_asks_for_the_other_half(sandbox, monkeypatch) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "id")
    async with opened(sandbox, "alpaca") as argo:
        with pytest.raises(UpstreamError, match="set APCA_API_SECRET_KEY in"):
            await argo.call("bars", symbol="AAPL")


async def test_one_vendor_without_a_key_does_not_stop_the_others(sandbox, monkeypatch) -> None:
    monkeypatch.setenv("MASSIVE_API_KEY", "key-of-massive")
    async with opened(sandbox) as argo:
        outcome = await argo.outcome("bars", symbol="AAPL")
    assert "massive" == outcome.upstream


async def test_without_any_key_every_variable_is_named(sandbox) -> None:
    async with opened(sandbox) as argo:
        with pytest.raises(AllUpstreamsFailed) as failed:
            await argo.call("bars", symbol="AAPL")
    named = str(failed.value)
    assert [] == [n for pairs in VARIABLES.values() for n in pairs if n not in named], named


@pytest.mark.parametrize("fault", [None, "unauthorized", "server_error", "reset", "garbage"])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_keys_are_in_no_log_error_event_key_or_repr(
    sandbox, monkeypatch, caplog, vendor: str, fault: str | None
) -> None:
    for pairs in VARIABLES.values():
        for variable, secret in pairs.items():
            monkeypatch.setenv(variable, secret)
    if fault is not None:
        sandbox.set_fault(vendor, fault)
    caplog.set_level(logging.DEBUG)
    printed = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(printed))
    plugin = MarketPlugin()
    seen: list[str] = []
    try:
        async with opened(sandbox, vendor) as argo:
            events = capture_events(argo)
            try:
                seen.append(repr(await argo.outcome("bars", symbol="AAPL")))
            except UpstreamError as error:
                seen.append("".join(traceback.format_exception(error)))
                seen.append(repr(vars(error)))
            seen += [repr(event) for event in events.all]
            seen += [
                repr(argo.settings),
                repr(engine_of(argo).pipeline.contributions),
                repr(vars(plugin)),
            ]
            seen += [repr(e) for e in argo.explain("bars", symbol="AAPL")]
    finally:
        structlog.reset_defaults()
    seen += [caplog.text, printed.getvalue()]
    assert sandbox.counts()[vendor]["requests"]
    assert "HTTP Request: GET" in caplog.text or "reset" == fault
    assert [] == [secret for secret in SECRETS if any(secret in text for text in seen)]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_key_that_a_vendor_repeats_is_hidden(sandbox, monkeypatch, vendor: str) -> None:
    """Alpha Vantage says whose quota is used up."""
    for variable, secret in VARIABLES[vendor].items():
        monkeypatch.setenv(variable, secret)
    text = (
        f"We have detected your API key as {' '.join(VARIABLES[vendor].values())} and our "
        "standard API rate limit is 25 requests per day."
    )
    body = json.dumps({"Information": text, "message": text, "error": text}).encode()
    answer = Answer(body, 200 if vendor == "alphavantage" else 429)
    monkeypatch.setattr(type(sandbox.endpoint(vendor).vendor), "answer", lambda *_: answer)
    async with opened(sandbox, vendor) as argo:
        with pytest.raises(UpstreamError, match="We have detected your API key as …") as failed:
            await argo.call("bars", symbol="AAPL")
    assert 429 == failed.value.status
    assert [] == [secret for secret in SECRETS if secret in str(failed.value)]


def test_an_error_text_holds_no_control_characters() -> None:
    failed = judge("alpaca", alpaca.RULES, Failure(422, "a\x1b[31mb\u202ec\n\x07d"))
    assert str(failed).endswith("(422 a [31mb c d)")


async def test_an_error_keeps_no_signed_request_alive(sandbox, monkeypatch) -> None:
    monkeypatch.setenv("ALPHAVANTAGE_API_KEY", "vantage-c20f6b")
    sandbox.set_fault("alphavantage", "reset")
    async with opened(sandbox, "alphavantage") as argo:
        with pytest.raises(UpstreamError) as failed:
            await argo.call("bars", symbol="AAPL")
    chain: list[BaseException] = []
    error: BaseException | None = failed.value
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    assert not any(hasattr(one, "_request") for one in chain)


@pytest.mark.parametrize(
    "url", ["http://data.alpaca.markets", "http://10.0.0.1", "ftp://127.0.0.1", "alpaca"]
)
def test_keys_are_never_sent_in_the_clear(url: str) -> None:
    plugins = Plugins.load(installed=False, extra={"market": MarketPlugin()})
    with pytest.raises(ConfigError, match=r"plugins\.market.*alpaca: url .* in the clear"):
        plugins.configs({"market": {"alpaca": {"url": url}}}, "argo.toml")


async def test_the_doctor_reports_missing_keys_and_reachable_vendors(sandbox, monkeypatch) -> None:
    monkeypatch.setenv("MASSIVE_API_KEY", "key-of-massive")
    async with opened(sandbox) as argo:
        waiting = engine_of(argo).plugins.call(
            "market", "diagnose", config=None, context=context_of(argo)
        )
        checks = {what: (well, text) for what, well, text in await waiting}
    assert checks["upstream massive"] == (
        True,
        f"has a key and answers at {sandbox.url('massive')}",
    )
    assert checks["upstream alpaca"][0] is False
    assert "APCA_API_KEY_ID" in checks["upstream alpaca"][1]


async def test_the_doctor_reports_unreachable_vendors(sandbox, monkeypatch) -> None:
    monkeypatch.setenv("MASSIVE_API_KEY", "key-of-massive")
    sandbox.set_fault("massive", "outage")
    async with opened(sandbox) as argo:
        waiting = engine_of(argo).plugins.call(
            "market", "diagnose", config=None, context=context_of(argo)
        )
        checks = {what: (well, text) for what, well, text in await waiting}
    well, text = checks["upstream massive"]
    assert not well
    assert "broke the connection off" in text
