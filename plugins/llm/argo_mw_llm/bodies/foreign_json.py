"""JSON from other programs, read strictly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn


def read_json(text: str | bytes, *, strict: bool = False) -> object:
    """Return what *text* states as JSON.

    Args:
        text: The text; bytes in UTF-8, UTF-16 or UTF-32.
        strict: Whether to refuse duplicate keys, ``NaN``, infinities, and bytes that are not UTF-8.
            Readers differ on which of two values counts, so a text that we have checked may mean
            something else to the provider.

    Raises:
        ValueError: It is not JSON, is nested too deeply, or *strict* refuses it.
    """
    try:
        if strict:
            text = text if isinstance(text, str) else text.decode("utf-8-sig")
            return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        return json.loads(text)
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        msg = f"it states {twice[:40]!r} twice"
        raise ValueError(msg)
    return found


def _no_number(name: str) -> NoReturn:
    msg = f"{name} is not a number in JSON"
    raise ValueError(msg)
