"""Outcomes in notebooks."""

from __future__ import annotations

import pandas as pd

from argo_mw import Attempt, Cost, Note, Outcome
from argo_mw.plugin import html_grid, html_table

SCRIPT = "<script>alert('x')</script>"


def test_an_outcome_shows_its_value_and_where_it_is_from() -> None:
    outcome = Outcome(
        187.2,
        upstream="alpaca",
        via=("cache",),
        as_of=0.0,
        cost=Cost(0.00042),
        attempts=(Attempt("alpaca", 0.25, "ok"),),
        notes=(Note("cache", "fresh"),),
    )
    shown = outcome._repr_html_()
    for text in ("187.2", "alpaca", "cache", "1970-01-01T00:00:00+00:00", "0.00042", "0.250 s"):
        assert text in shown


def test_what_is_in_an_outcome_is_escaped() -> None:
    outcome = Outcome(
        {"text": SCRIPT},
        upstream=SCRIPT,
        via=(SCRIPT,),
        lacks=frozenset({SCRIPT}),
        attempts=(Attempt(SCRIPT, 0.1, "failed", SCRIPT),),
        notes=(Note(SCRIPT, SCRIPT),),
    )
    assert "<script" not in outcome._repr_html_()
    assert "<script" not in html_table({SCRIPT: SCRIPT})
    assert "<script" not in html_grid([SCRIPT], [[SCRIPT]])


def test_a_frame_is_shown_as_it_shows_itself_with_its_cells_escaped() -> None:
    shown = Outcome(pd.DataFrame({"close": [1.5], "note": [SCRIPT]}))._repr_html_()
    assert "<td>1.5</td>" in shown
    assert "<script" not in shown


def test_a_value_that_cannot_show_itself_is_shown_as_text() -> None:
    class Broken:
        def __repr__(self) -> str:
            return "<broken>"

        def _repr_html_(self) -> str:
            raise ValueError

    assert "&lt;broken&gt;" in Outcome(Broken())._repr_html_()


def test_moments_that_no_calendar_has_are_shown_as_numbers() -> None:
    assert "1e+300" in Outcome(1, as_of=1e300)._repr_html_()
    assert "inf" in Outcome(1, expires_at=float("inf"))._repr_html_()
