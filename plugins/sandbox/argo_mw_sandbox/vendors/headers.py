"""A header of every answer with bars: whether its prices are real."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw_sandbox.instruments import Instrument

HEADER = "X-Sandbox-Source"


def label(instruments: Iterable[Instrument], *, intraday: bool) -> dict[str, str]:
    """Return a header that names the sources of an answer's bars.

    Args:
        instruments: What the bars are of.
        intraday: Whether they are finer than a day.
    """
    names = sorted({_source(instrument, intraday) for instrument in instruments})
    return {HEADER: ", ".join(names)} if names else {}


def _source(instrument: Instrument, intraday: bool) -> str:
    if intraday and instrument.source != "synthetic" and instrument.minutes_source == "bridge":
        return f"{instrument.source} days with drawn minutes"
    return instrument.source
