"""What stands in a configuration, before anything has checked it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

from argo_mw.base.errors import ConfigError
from argo_mw.base.secret import STARS, HiddenText, conceal, conceal_passwords

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_LOGIN: Final = re.compile(r"(?<!\S)(?>\S*?://)\S*@")


class WrittenText:
    """Text in a configuration, filled in from the environment and shown by nothing.

    Any text may turn out to be a key or a password, so tables of plugins hold their texts like
    this until a plugin's own class says what each is for.

    Args:
        text: The text, filled in.
        variables: The values in it that came from the environment.
    """

    __slots__ = ("_value", "_variables")

    def __init__(self, text: str, variables: Iterable[str] = ()) -> None:
        self._value = HiddenText(text)
        self._variables = tuple(variables)

    @property
    def from_environment(self) -> bool:
        """Whether something in it came from the environment."""
        return bool(self._variables)

    @property
    def hidden(self) -> bool:
        """Whether it must not be shown: something came from the environment, or it has a login."""
        return bool(self._variables) or _LOGIN.search(self._value) is not None

    def reveal(self) -> str:
        """Return the text: hidden from ``repr`` if it must not be shown."""
        if not self.hidden:
            return str(self._value)
        self.conceal()
        return self._value

    def conceal(self) -> None:
        """Have what came from the environment, and a password, struck out of all texts."""
        for value in self._variables:
            conceal(value)
        conceal_passwords(self._value)

    def plain(self) -> str:
        """Return the text for a field that is shown by design, such as a path or a name."""
        return str(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WrittenText):
            return NotImplemented
        return str(self._value) == str(other._value)

    def __hash__(self) -> int:
        return hash((WrittenText, self._value))

    def __repr__(self) -> str:
        return STARS


def fill_in(value: object, path: str, source: str) -> object:
    """Return *value* with every text in it as :class:`WrittenText`, filled in.

    Args:
        value: A table, list or plain value, with ``${NAME}`` for variables of the environment.
        path: The key that it is written at, for errors.
        source: The file that it is written in, for errors.

    Raises:
        ConfigError: A variable is not set.
    """
    if isinstance(value, str):
        names = _VARIABLE.findall(value)
        variables = [HiddenText(_from_environment(name, path, source)) for name in names]
        rest = iter(variables)
        return WrittenText(_VARIABLE.sub(lambda _: next(rest), value), variables)
    if isinstance(value, (list, tuple)):
        return [fill_in(v, f"{path}[{i}]", source) for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        return {k: fill_in(v, f"{path}.{k}", source) for k, v in value.items()}
    return value


def as_written(value: object) -> object:
    """Return *value* with every text in it as :class:`WrittenText`, not filled in."""
    if isinstance(value, str):
        return WrittenText(value)
    if isinstance(value, (list, tuple)):
        return [as_written(v) for v in value]
    if isinstance(value, Mapping):
        return {k: as_written(v) for k, v in value.items()}
    return value


def read_out(value: object) -> object:
    """Return *value*, of :func:`fill_in`, with its texts as text again."""
    if isinstance(value, WrittenText):
        return value.reveal()
    if isinstance(value, list):
        return [read_out(v) for v in value]
    if isinstance(value, Mapping):
        return {k: read_out(v) for k, v in value.items()}
    return value


def _from_environment(variable: str, path: str, source: str) -> str:
    try:
        return os.environ[variable]
    except KeyError:
        msg = (
            f"{source}: {path} takes its value from the environment variable {variable}, which "
            f"is not set; export {variable}=…, or write the value differently"
        )
        raise ConfigError(msg) from None
