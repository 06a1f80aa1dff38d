"""A picture of promises: for each of them two bars, the original and behind the chain."""

from __future__ import annotations

import html
from collections.abc import Sequence

from argo_mw_compare.scenarios.promise import Findings, Promise
from argo_mw_compare.scenarios.text import cells

_WIDTH, _LEFT, _LONGEST = 860, 430, 260
_STEP, _BAR = 46, 14
_ORIGINAL, _CHAIN = "#d62728", "#1f77b4"


def picture(several: Sequence[Findings]) -> str:
    """Return an SVG with two bars for every promise of *several* that has two values."""
    drawn = [(found.scenario, one) for found in several for one in found.promises if _has_bars(one)]
    height = 24 + _STEP * len(drawn)
    bars = "".join(_pair(place, scenario, one) for place, (scenario, one) in enumerate(drawn))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_LEFT}" y="14" fill="{_ORIGINAL}">original</text>'
        f'<text x="{_LEFT + 70}" y="14" fill="{_CHAIN}">behind the chain</text>{bars}</svg>\n'
    )


def _has_bars(promise: Promise) -> bool:
    return promise.before is not None and promise.after is not None


def _pair(place: int, scenario: str, promise: Promise) -> str:
    y = 24 + _STEP * place
    row = cells(promise)
    values = (promise.before or 0.0, promise.after or 0.0)
    longest = max(values) or 1.0
    drawn = (
        f'<text x="{_LEFT - 10}" y="{y + 13}" text-anchor="end">{html.escape(row[0])}</text>'
        f'<text x="{_LEFT - 10}" y="{y + 28}" text-anchor="end" fill="#666">'
        f"{scenario.replace('_', ' ')}, bar {row[4]}: {row[6]}</text>"
    )
    for number, (value, colour, text) in enumerate(
        zip(values, (_ORIGINAL, _CHAIN), (row[1], row[2]), strict=True)
    ):
        top, width = y + number * (_BAR + 2), _LONGEST * value / longest
        drawn += (
            f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
            f'<text x="{_LEFT + 6 + width:.1f}" y="{top + 11}">{text}</text>'
        )
    return drawn
