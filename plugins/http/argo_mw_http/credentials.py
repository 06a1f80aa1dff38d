"""Recognizing credentials among headers, parameters and parts of paths, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_CREDENTIAL: Final = re.compile(
    r"api[-_]?key|access[-_]?key|secret|token|signature|passw|authori[sz]|credential|session|cookie"
    r"|(?:^|[-_])(?:auth|key|sig|sign|pwd|jwt)(?:$|[-_])"
)
"""Words that occur in the names of credentials."""
_SURELY: Final = re.compile(
    r"^(?:proxy-)?authorization$|^cookie$|api[-_]?key|access[-_]?key|secret|(?:auth|access)[-_]?token"
)
"""Names that always mean a credential; a token may also mark a page."""
_MAX_NAME: Final = 200
"""Characters of a name that are looked at; one with a longer name counts as a credential."""


def is_credential(name: str, listed: Sequence[str] | None) -> bool:
    """Return whether what is called *name* is a credential.

    Args:
        name: The name, in lower case for a header.
        listed: The credentials that a route lists, or ``None`` where it lists none.
    """
    if listed is not None:
        return any(name in (one, one.lower()) for one in listed)
    return len(name) > _MAX_NAME or _CREDENTIAL.search(name.lower()) is not None


def is_set_aside(name: str, listed: Sequence[str] | None) -> bool:
    """Return whether what is called *name* surely is one that *listed* leaves out."""
    if listed is None or is_credential(name, listed):
        return False
    return len(name) <= _MAX_NAME and _SURELY.search(name.lower()) is not None
