"""Lists of names, for which one text must not be taken: its letters would be."""

from __future__ import annotations

from argo_mw.base.errors import ConfigError


def refuse_one_text(what: str, given: object) -> None:
    """Refuse *given*, the list *what* of names, if it is one text.

    Raises:
        ConfigError: It is.
    """
    if isinstance(given, str):
        msg = f"{what} is the text {given!r}; give a list of names, such as [{given!r}]"
        raise ConfigError(msg)
