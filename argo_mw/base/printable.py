"""Making foreign text safe to show: on a terminal, in a log line, in an error.

A terminal obeys the control characters in what it shows: they move the cursor, rename the window
and hide what was printed before. A line break in a log line lets anyone forge the next one; and
bidirectional control characters show text in a false order.
"""

from __future__ import annotations

import re
import traceback
from types import TracebackType
from typing import Final

from argo_mw.base.secret import redact

_CONTROLS: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""C0 without tab and line feed, delete, and C1."""
_UNSEEN: Final = (
    "\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
"""Bidirectional controls, other line breaks, characters without width, lone surrogates, and tags.
The joiners U+200C and U+200D stay: words and emoji are written with them."""
_MAX_BRIEF: Final = 60
_ON_A_LINE: Final = re.compile(f"[\t\n{_CONTROLS}{_UNSEEN}]")
_ON_LINES: Final = re.compile(f"[{_CONTROLS}{_UNSEEN}]")

Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return *text* with its control characters written as escapes, such as ``\x1b``.

    Args:
        text: Text of whatever origin.
        lines: Whether it may have several lines: then tabs and line feeds stay as they are.
    """
    if text.isprintable():
        return text
    if lines:
        return _ON_LINES.sub(_escape, text.replace("\r\n", "\n"))
    return _ON_A_LINE.sub(_escape, text)


def brief(value: object) -> str:
    """Return the beginning of the ``repr`` of *value*, or a placeholder if that raises."""
    try:
        text = repr(value)
    except Exception:  # an integer of five thousand digits has none
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _MAX_BRIEF else f"{text[: _MAX_BRIEF - 1]}…"


def printable_traceback(raised: Raised) -> str:
    """Return the traceback of *raised*, printable and without secrets.

    Each line is indented, so that a line break in an error's message cannot pass for a new log
    line.
    """
    text = "".join(traceback.format_exception(*raised)).rstrip("\n")
    lines = printable(redact(text), lines=True).split("\n")
    return "\n".join(f"  {line}" for line in lines)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
