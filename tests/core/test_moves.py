"""What a ramp moves: requests to other upstreams, and calls out of shared requests."""

from __future__ import annotations

from argo_mw.plugin import Counts, moved


def arm(name: str, asked: dict[str, int], requests: dict[str, float]) -> Counts:
    return Counts("bars", (("race", name),), requests_to=dict(requests), asked=dict(asked))


def test_requests_that_go_to_another_upstream_are_named_with_their_sizes() -> None:
    counts = [
        arm("control", {"alpaca": 377}, {"alpaca": 13.0}),
        arm("treatment", {"alpaca": 190, "massive": 190}, {"alpaca": 7.0, "massive": 190.0}),
    ]
    assert moved("race", counts) == [
        (
            "bars: alpaca is asked for 50% of treatment's loads and 100% of control's; a request there "
            "answers 27.1 calls and 29.0 calls"
        ),
        (
            "bars: massive is asked for 50% of treatment's loads and 0% of control's; a request there "
            "answers 1 call and none"
        ),
    ]


def test_calls_that_leave_shared_requests_are_named_though_the_upstream_is_the_same() -> None:
    counts = [
        arm("control", {"alpaca": 100}, {"alpaca": 10.0}),
        arm("treatment", {"alpaca": 100}, {"alpaca": 100.0}),
    ]
    (line,) = moved("race", counts)
    assert line.endswith("a request there answers 1 call and 10.0 calls")


def test_nothing_is_said_of_equal_arms_of_few_calls_or_of_other_flags() -> None:
    equal = [arm(name, {"a": 100}, {"a": 50.0}) for name in ("control", "treatment")]
    assert moved("race", equal) == []
    assert moved("cache", equal) == []
    assert moved("race", [equal[0], arm("treatment", {"b": 10}, {"b": 10.0})]) == []
    assert moved("race", equal[:1]) == []
