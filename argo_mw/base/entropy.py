"""Random bytes, drawn from the operating system by the page: a system call for each is slow."""

from __future__ import annotations

import os
from typing import Final

_PAGE: Final = 4096
_PIECE: Final = 16

_pieces: Final[list[bytes]] = []
"""What was drawn and is not given out. One operation of a list is one step for all threads."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pieces.clear)


def random_bytes(count: int) -> bytes:
    """Return *count* random bytes, at most 16, none of which is ever returned again.

    For identifiers and versions, not for secrets: the next ones wait in memory.
    """
    while True:
        try:
            return _pieces.pop()[:count]
        except IndexError:
            page = os.urandom(_PAGE)
            _pieces.extend(page[start : start + _PIECE] for start in range(0, _PAGE, _PIECE))
