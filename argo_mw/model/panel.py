"""Panels: what a plugin shows of itself to people, as plain data that any screen can draw."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import isfinite
from sys import float_info
from typing import Final, Literal

import msgspec
from attrs import asdict, evolve, frozen

from argo_mw.base.printable import printable

MAX_LINES: Final = 1_000
"""Lines that a view shows at most."""

MAX_POINTS: Final = 500
"""Points that a plot shows at most, the newest."""

MAX_TEXT: Final = 500
"""Letters of a text that are shown at most."""

_MAX_PLOTS: Final = 8
_MAX_CELLS: Final = 50

Shape = str | int | float | bool | None
"""A value in a view: a text, a number, yes or no, or nothing."""

Unit = Literal["", "s", "USD", "share", "time"]
"""What a number means: "" a plain one, ``s`` seconds, ``USD`` US dollars, ``share`` a part of a
whole, ``time`` seconds since the epoch."""

Tone = Literal["", "good", "warn", "bad"]
"""How things stand, said by colour as well; the cells say it too, in words."""


@frozen
class Column:
    """A column of a panel.

    Attributes:
        title: What is over it, in a word or two.
        unit: What its numbers mean.
    """

    title: str
    unit: Unit = ""


@frozen
class Line:
    """A line of a view.

    Attributes:
        cells: A value for each column.
        key: What a button is given that is pressed for this line, for the panel's own use; lines
            without one have no buttons, nor have lines whose key is longer than a text may be.
        tone: How things stand.
        buttons: The names of the buttons that it has; by default all of the panel's.
    """

    cells: Sequence[Shape]
    key: str = ""
    tone: Tone = ""
    buttons: Sequence[str] | None = None


@frozen
class Plot:
    """A curve.

    Attributes:
        title: What it shows.
        points: Seconds since the epoch, and the value then; in the order of time.
        unit: What its values mean.
    """

    title: str
    points: Sequence[tuple[float, float]]
    unit: Unit = ""


@frozen
class View:
    """What a panel shows at one moment.

    Attributes:
        lines: Its lines, the most important first.
        plots: Its curves.
        text: A sentence or two that stand over them.
    """

    lines: Sequence[Line] = ()
    plots: Sequence[Plot] = ()
    text: str = ""

    def bounded(self) -> View:
        """Return what is shown of it: so many lines and points, and texts of such a length.

        Characters that are not seen, or turn the direction of writing, are escapes. All of it can
        be written as JSON, so that no panel stands in the way of the others.
        """
        lines = tuple(
            evolve(
                line,
                cells=tuple(_shown(cell) for cell in line.cells[:_MAX_CELLS]),
                key=line.key if line.key == _text(line.key) else "",
                buttons=None if line.buttons is None else tuple(line.buttons),
            )
            for line in self.lines[:MAX_LINES]
        )
        plots = tuple(
            evolve(plot, title=_seen(plot.title), points=_newest(plot.points))
            for plot in self.plots[:_MAX_PLOTS]
        )
        return View(lines, plots, _seen(self.text))

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return asdict(self)

    @classmethod
    def of_data(cls, data: object) -> View:
        """Return the view that *data* describes.

        Raises:
            ValueError: It is not such data.
        """
        try:
            return msgspec.convert(data, cls).bounded()
        except msgspec.ValidationError as error:
            msg = f"this is not a view: {error}"
            raise ValueError(msg) from None


@frozen(eq=False)
class Button:
    """Something that a person may do to a line of a panel, once it is confirmed.

    Attributes:
        name: Its name, unique in its panel.
        label: What is on it.
        press: Does it, given the key of a line; returns what was done, in a sentence. Raises
            :class:`~argo_mw.ArgoError` where it cannot be done. It runs in the process that shows
            the panel, which may be another than the one whose line it is.
        question: What is asked before, in a sentence; ``{}`` stands for the line's first cell.
        in_journal: Whether *press* itself writes into the journal what it has done.
    """

    name: str
    label: str
    press: Callable[[str], Awaitable[str]]
    question: str
    in_journal: bool = False


@frozen(eq=False)
class Panel:
    """What a plugin shows of itself.

    Attributes:
        name: ``PLUGIN``, or ``PLUGIN.WHAT`` where a plugin has several.
        title: What is over it.
        columns: The columns of its lines; a text is a column of plain values.
        read: Returns what it shows now. Called every two seconds while a person looks, and not
            otherwise: it may wait for a second at most, and must not block.
        buttons: What a person may do to its lines.
        fleet: Whether it shows the same in each instance, out of the shared store. One is then
            enough; by default each instance shows its own.
    """

    name: str
    title: str
    columns: Sequence[Column | str]
    read: Callable[[], View | Awaitable[View]]
    buttons: Sequence[Button] = ()
    fleet: bool = False


def _newest(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    return tuple([(at, value) for at, value in points if isfinite(at + value)][-MAX_POINTS:])


def _shown(cell: Shape) -> Shape:
    if cell is None or isinstance(cell, bool):
        return cell
    if isinstance(cell, int | float):
        if not abs(cell) <= float_info.max:  # also where it is not a number
            return None
        return cell if isinstance(cell, int) and cell.bit_length() < 64 else float(cell)
    return _seen(str(cell))


def _seen(text: str) -> str:
    return _text(printable(_text(text), lines=True))


def _text(text: str) -> str:
    """Return the beginning of *text*; half a surrogate pair, which UTF-8 lacks, is a "?" in it."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()
