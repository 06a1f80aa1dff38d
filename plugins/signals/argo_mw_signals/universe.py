"""Universes: files that name symbols."""

from __future__ import annotations

from collections.abc import Iterable

from argo_mw.plugin import BadParameter

_GAPS = str.maketrans({",": " ", "\N{BYTE ORDER MARK}": " "})


def read_universe(lines: Iterable[str], *, name: str) -> list[str]:
    """Return the symbols in *lines*, separated by spaces, commas or line ends.

    ``#`` begins a comment.

    Raises:
        BadParameter: There are none, or it is not text.
    """
    try:
        symbols = [
            symbol for line in lines for symbol in line.partition("#")[0].translate(_GAPS).split()
        ]
    except UnicodeDecodeError:
        msg = f"{name} is not text in UTF-8; write the symbols one to a line"
        raise BadParameter(msg) from None
    if not symbols:
        msg = f"{name} names no symbols; write them one to a line"
        raise BadParameter(msg)
    return list(dict.fromkeys(symbols))
