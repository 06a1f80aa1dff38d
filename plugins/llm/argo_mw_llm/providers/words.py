"""Texts of a provider that become part of records: names of models, reasons to stop."""

from __future__ import annotations

from typing import Final

from argo_mw.plugin import printable

_MAX_WORD: Final = 200


def word(written: object) -> str:
    """Return *written* as one line of at most 200 characters, or "" if it is not text.

    The SDKs check neither types nor lengths, and a database may refuse a record with such a text.
    """
    return printable(written[:_MAX_WORD])[:_MAX_WORD] if isinstance(written, str) else ""


def text_of(written: object) -> str:
    """Return *written*, the text of an answer.

    Raises:
        TypeError: It is not text.
    """
    if isinstance(written, str):
        return written
    msg = f"a {type(written).__name__} where an answer has its text"
    raise TypeError(msg)
