"""What commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import codecs
import io
import json
import sys
from types import TracebackType
from typing import Final

import click

from argo_mw.base.printable import printable, printable_traceback

_LOOK_ALIKES: Final = "argo_mw.look_alikes"
_PLAIN_ASCII: Final = "argo_mw_ascii"
"""ASCII by another name: click takes a stream of ASCII for a mistake, and writes UTF-8 to it."""
_ASCII: Final = {"→": "->", "…": "..."}


def make_encodable() -> None:
    """Let standard output and error take any text, whatever their encoding.

    A file or a pipe on Windows is written as cp1252, and elsewhere as the locale says. Letters that
    the encoding lacks are written as look-alikes, others as escapes: no command fails for one.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not what a program has put in its place
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_PLAIN_ASCII if is_ascii else None, errors=_LOOK_ALIKES)


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    if name != _PLAIN_ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode,
        known.decode,
        incrementalencoder=known.incrementalencoder,
        incrementaldecoder=known.incrementaldecoder,
        name=name,
    )


def _encodable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_ASCII.get(one) or _escaped(one) for one in letters), error.end


def _escaped(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(_LOOK_ALIKES, _encodable)
codecs.register(_plain_ascii)


def say(text: str) -> None:
    """Print *text* that is not a result on standard error, as :func:`echo` does."""
    echo(text, err=True)


def echo(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print *text*, with what a terminal would obey escaped; only tabs and line breaks stay.

    Args:
        text: Text of whatever origin.
        nl: Whether a line break follows.
        err: Whether it goes to standard error.
    """
    click.echo(printable(text, lines=True), nl=nl, err=err)


def print_json(value: object) -> None:
    """Print *value* as JSON, one document; values that JSON does not know become text."""
    echo(json.dumps(value, indent=2, default=str))


def show_crash(
    kind: type[BaseException], error: BaseException, frames: TracebackType | None
) -> None:
    """Print the traceback of an error that no command has handled, for ``sys.excepthook``."""
    sys.stderr.write(f"{printable_traceback((kind, error, frames))}\n")
