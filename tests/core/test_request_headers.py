"""Which headers of requests answers do not follow from."""

from __future__ import annotations

import pytest

from argo_mw.plugin import is_of_balancer, leaves_answers_alone


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        *((name, True) for name in ("traceparent", "user-agent", "x-request-id", "x-b3-sampled")),
        *((name, False) for name in ("accept", "authorization", "host", "x-market", "x-requested")),
    ],
)
def test_only_headers_for_tracing_counting_and_carrying_leave_answers_alone(
    header: str, expected: bool
) -> None:
    assert expected is leaves_answers_alone(header)


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [("__cf_bm=1; path=/", True), (" AWSALB=2", True), ("lb=1", True), ("session=1", False)],
)
def test_cookies_of_load_balancers_are_known_by_their_names(cookie: str, expected: bool) -> None:
    assert expected is is_of_balancer(cookie)
