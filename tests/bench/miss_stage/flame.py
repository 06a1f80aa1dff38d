"""A flame graph as SVG without scripts: what a page can show as an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

from attrs import Factory, define

from tests.bench.miss_stage.samples import Stack

WIDTH = 1_000
ROW = 18
LEAST = 4.0
"""What would be narrower than so many pixels is left out."""

_LETTER = 6.2
"""How wide a letter is, about, in pixels."""

_COLOURS = (
    "#f6c85f",
    "#f4a6a0",
    "#b9d77a",
    "#b0c4d8",
    "#9fd0a5",
    "#8fc1e3",
    "#f2a48f",
    "#c9b1e0",
    "#d9c8a9",
    "#a3d9d2",
    "#e6b0cf",
)


@define
class _Node:
    """A function below its callers: how many samples, and what it called."""

    times: int = 0
    below: dict[str, _Node] = Factory(dict)


def svg(stacks: Counter[Stack]) -> str:
    """Return the drawing of *stacks*, which were seen so often: callers above what they call."""
    root = _tree(stacks)
    scale = WIDTH / root.times
    rows = list(_rows(root, 0.0, 0, scale))
    height = (max(depth for *_, depth in rows) + 1) * ROW
    places = sorted({name.partition(":")[0] for name, *_ in rows})
    colours = {place: _COLOURS[at % len(_COLOURS)] for at, place in enumerate(places)}
    drawn = "\n".join(_box(colours, *row) for row in rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="11">\n{drawn}\n</svg>\n'
    )


def _tree(stacks: Mapping[Stack, int]) -> _Node:
    root = _Node()
    for stack, times in stacks.items():
        node = root
        node.times += times
        for name in stack:
            node = node.below.setdefault(name, _Node())
            node.times += times
    return root


def _rows(
    node: _Node, left: float, depth: int, scale: float
) -> Iterator[tuple[str, float, float, int]]:
    """Yield each function that is wide enough: its name, left end, width and depth."""
    for name, child in sorted(node.below.items()):
        width = child.times * scale
        if width >= LEAST:
            yield name, left, width, depth
            yield from _rows(child, left, depth + 1, scale)
        left += width


def _box(colours: Mapping[str, str], name: str, left: float, width: float, depth: int) -> str:
    place, _, function = name.partition(":")
    text = f"{place} {function}".strip()
    box = (
        f"<g><title>{escape(text)}, {100 * width / WIDTH:.1f} %</title>"
        f'<rect x="{left:.1f}" y="{depth * ROW}" width="{width - 0.5:.1f}" height="{ROW - 1}" '
        f'fill="{colours[place]}"/>'
    )
    letters = int((width - 6) / _LETTER)
    if letters < 3:
        return box + "</g>"
    shown = text if len(text) <= letters else text[: letters - 1] + "…"
    return box + f'<text x="{left + 3:.1f}" y="{depth * ROW + 13}">{escape(shown)}</text></g>'
