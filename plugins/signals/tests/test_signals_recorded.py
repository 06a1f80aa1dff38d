"""Recorded signals: checked before they are queued, made of answers, read back as they were."""

from __future__ import annotations

import pytest

from argo_mw import BadParameter
from argo_mw.plugin import AnsweredCall
from argo_mw_persist.application import schema_of
from argo_mw_signals import Contribution, RecordedSignal, RecordedVote, Signal
from argo_mw_signals.recording import DECLARATION, RECORDING


@pytest.mark.parametrize(
    "broken",
    [
        RecordedSignal("", "BUY", 1.0, 1),
        RecordedSignal("A", "BUY", float("nan"), 1),
        RecordedSignal("A", "BUY", float("inf"), 1),
        RecordedSignal("A" * 200, "BUY", 1.0, 1),
    ],
)
def test_a_signal_that_makes_no_sense_is_refused_before_it_is_queued(broken):
    with pytest.raises(BadParameter, match="a signal needs"):
        broken.row()


@pytest.mark.parametrize("timestamp", [1.5, "2026-01-01", None, True, 1_750_000_000 * 10**9, 2**63])
def test_a_time_in_other_units_is_refused_before_it_is_queued(timestamp):
    with pytest.raises(BadParameter, match="whole microseconds"):
        RecordedSignal("A", "BUY", 1.0, timestamp).row()


@pytest.mark.parametrize(
    ("signal", "tags"),
    [
        (RecordedSignal("A", "BUY", 1.0, 1), ("signals:A", "signals")),
        (
            RecordedSignal("A", "BUY", 1.0, 1, outcome="win", is_active=False),
            ("signals:A", "signals", "outcomes:A", "outcomes"),
        ),
    ],
)
def test_a_row_that_was_spooled_changes_what_it_would_have_changed_before(signal, tags):
    row = signal.row()
    again = schema_of({"signals": [DECLARATION]})["signals"].restored(row.cells)
    assert tags == row.tags == again.tags
    assert signal == RecordedSignal.from_cells(again.cells)


def answered(value: object, **changes: object) -> AnsweredCall:
    given: dict[str, object] = {
        "value": value,
        "subject": "AAPL",
        "parameters": {},
        "owner": "acme",
        "upstream": "signals",
        "as_of": 1.5,
        "time": 2.0,
    }
    return AnsweredCall(**{**given, **changes})  # type: ignore[arg-type]


def test_an_answer_becomes_a_row_with_the_vote_of_each_voice():
    contributions = (
        Contribution("trend", 0.4, 0.5, 1.0, "because"),
        Contribution("momentum", -0.2, 0.6, 0.75, "falls"),
        Contribution("volume", 0.0, 0.5, 1.0, "even"),
    )
    signal = Signal("AAPL", "BUY", 0.7, 0.3, 100.0, 1.0, 1.5, contributions)
    [row] = RECORDING.rows(answered(signal))
    kept = RecordedSignal.from_cells(row.cells)
    assert (kept.symbol, kept.action, kept.confidence, kept.price) == ("AAPL", "BUY", 0.7, 100.0)
    assert (
        RecordedVote("trend", "BUY", 0.5, 1.0, "because"),
        RecordedVote("momentum", "SELL", 0.6, 0.75, "falls"),
        RecordedVote("volume", "HOLD", 0.5, 1.0, "even"),
    ) == kept.voices
    assert (kept.upstream, kept.tenant, kept.timestamp) == ("signals", "acme", 2_000_000)
    assert kept.detail == '{"as_of": 1.5}'
    assert kept.is_active


def test_an_answer_that_is_no_signal_becomes_no_row():
    assert list(RECORDING.rows(answered({"action": "BUY", "confidence": 0.5}))) == []
