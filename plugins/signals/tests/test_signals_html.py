"""Signals in notebooks."""

from __future__ import annotations

from argo_mw_signals import Contribution, Missing, Signal


def test_a_signal_shows_its_voices_and_escapes_what_they_say() -> None:
    said = "<img src=x onerror=alert(1)>"
    signal = Signal(
        "AAPL",
        "BUY",
        0.75,
        0.4,
        187.2,
        0.0,
        60.0,
        (Contribution("trend", 0.5, 0.8, 2.0, said),),
        (Missing(said, 1.0, "no key"),),
    )
    shown = signal._repr_html_()
    for text in ("AAPL", "BUY, confidence 0.75", "187.2", "trend", "+0.50", "no key"):
        assert text in shown
    assert "<img" not in shown
