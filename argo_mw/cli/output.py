"""What commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os

import click
from rich.console import Console

_WIDE = 200


def console(*, stderr: bool = False) -> Console:
    """Return a rich console on standard output, or with *stderr* on error; plain in a file or pipe.

    Text is shown as it is: ``[plugins.cache]`` is a table of the configuration, no style. In a
    file or a pipe, lines are as long as they need to be, up to 200 letters, unless the
    environment sets ``COLUMNS``.
    """
    made = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDE
    return made


def say(text: str) -> None:
    """Print *text* that is not a result, on standard error."""
    click.echo(text, err=True)


def print_json(value: object) -> None:
    """Print *value* as JSON, one document; values that JSON does not know become text."""
    click.echo(json.dumps(value, indent=2, default=str))
