"""Values as HTML for notebooks, escaped so that nothing in them takes effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

_MAX_LETTERS: Final = 2_000
_LEFT: Final = ' style="text-align: left; vertical-align: top"'


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def as_html(value: object) -> Html:
    """Return *value* as HTML: as it shows itself in notebooks, else its text, escaped.

    Args:
        value: Anything. Long text is cut.
    """
    if isinstance(value, Html):
        return value
    shows_itself = getattr(value, "_repr_html_", None)
    if callable(shows_itself) and not isinstance(value, type):
        try:
            shown = shows_itself()
        except Exception:  # it is shown as text
            shown = None
        if isinstance(shown, str):
            return Html(shown)
    text = value if isinstance(value, str) else repr(value)
    cut = text if len(text) <= _MAX_LETTERS else f"{text[:_MAX_LETTERS]}…"
    return Html(escape(cut))


def html_table(rows: Mapping[str, object]) -> str:
    """Return a table of *rows*: a name and a value each, less those that are ``None`` or "".

    Texts and all other values are escaped; tables of this module, and what shows itself as HTML in
    notebooks, are shown as they are.

    Args:
        rows: The values, by name.
    """
    shown = ((name, value) for name, value in rows.items() if not _is_nothing(value))
    cells = (
        f"<tr><th{_LEFT}>{escape(name)}</th><td{_LEFT}>{as_html(value)}</td></tr>"
        for name, value in shown
    )
    return Html(f"<table>{''.join(cells)}</table>")


def _is_nothing(value: object) -> bool:
    # Not by `in (None, "")`: a frame compares its cells.
    return value is None or (isinstance(value, str) and not value)


def html_grid(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of *rows* under a *head*; its cells are shown as in :func:`html_table`.

    Args:
        head: The names of the columns.
        rows: Their values.
    """
    top = "".join(f"<th{_LEFT}>{escape(name)}</th>" for name in head)
    body = ("".join(f"<td{_LEFT}>{as_html(cell)}</td>" for cell in row) for row in rows)
    lines = "".join(f"<tr>{cells}</tr>" for cells in body)
    return Html(f"<table><tr>{top}</tr>{lines}</table>")
