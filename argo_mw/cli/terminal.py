"""The console of rich that commands print tables on; apart, since listing commands needs none."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from argo_mw.base.printable import printable

_WIDE = 200


def console(*, stderr: bool = False) -> Console:
    """Return a rich console on standard output, or with *stderr* on error; plain in a file or pipe.

    Text is shown as it is: ``[plugins.cache]`` is a table of the configuration, no style. What a
    terminal would obey, such as the escape sequences in an upstream's answer, is shown escaped. In
    a file or a pipe, lines are as long as they need to be, up to 200 letters, unless the
    environment sets ``COLUMNS``.
    """
    made = _Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDE
    return made


class _Console(Console):
    """A console that shows escaped what a terminal would obey, wherever in a renderable it is."""

    def render_str(self, text: str, **options: Any) -> Text:
        # Before anything is measured, for the texts in tables.
        return super().render_str(printable(text, lines=True), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text == "\n" or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, lines=True), segment.style)
