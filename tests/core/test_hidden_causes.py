"""Errors of upstreams show no secret of this process, nor do their causes."""

from __future__ import annotations

import logging
import traceback

import pytest

from argo_mw import UpstreamError
from argo_mw.plugin import AttemptEnded, Secret
from argo_mw.testing import Scripted, capture_events

KEY = "sk-canary-0123456789abcdef"


class VendorError(Exception):
    """What a vendor's library raises, with an echo of the key."""


def failure(depth: int, cause: BaseException) -> UpstreamError:
    """Return an upstream's error with *cause*, *depth* errors below it."""
    for _ in range(depth):
        outer = VendorError("the request failed")
        outer.__cause__ = cause
        cause = outer
    error = UpstreamError("the vendor refused the key", upstream="a")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("depth", [0, 1, 5])
async def test_no_cause_of_an_error_shows_a_secret(open_argo, caplog, depth) -> None:
    Secret(KEY)
    upstream = Scripted("a", ["bars"], failure(depth, VendorError(f"401: {KEY} is not a key")))
    async with open_argo(upstream) as argo:
        with pytest.raises(UpstreamError) as caught:
            await argo.call("bars", symbol="A")
    logging.getLogger("program").error("asking failed", exc_info=caught.value)
    shown = caplog.text + "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert "VendorError: 401: ******** is not a key" in shown


async def test_a_cause_without_secrets_stays(open_argo) -> None:
    cause = VendorError("401: this is not a key")
    async with open_argo(Scripted("a", ["bars"], failure(0, cause))) as argo:
        with pytest.raises(UpstreamError) as caught:
            await argo.call("bars", symbol="A")
    assert cause is caught.value.__cause__


async def test_causes_that_go_round_in_circles_end(open_argo) -> None:
    Secret(KEY)
    one, other = VendorError("one"), VendorError(f"other {KEY}")
    one.__cause__, other.__cause__ = other, one
    async with open_argo(Scripted("a", ["bars"], failure(0, one))) as argo:
        with pytest.raises(UpstreamError) as caught:
            await argo.call("bars", symbol="A")
    assert None is caught.value.__cause__


async def test_what_an_attempt_failed_with_is_announced_without_secrets(open_argo) -> None:
    Secret(KEY)
    async with open_argo(Scripted("a", ["bars"], VendorError(f"{KEY} is not a key"))) as argo:
        events = capture_events(argo)
        with pytest.raises(UpstreamError):
            await argo.call("bars", symbol="A")
    expected = "upstream 'a' failed: VendorError: ******** is not a key"
    assert [expected] == [e.attempt.error for e in events.of(AttemptEnded)]
