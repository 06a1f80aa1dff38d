"""Secrets: values that no log, error or dump shows."""

from __future__ import annotations

import hmac


class Secret:
    """A value that must not be shown.

    ``repr`` and ``str`` hide it; :meth:`reveal` returns it, for the moment when it is sent. It is
    no attrs class on purpose: without fingerprint and encoding it can become part of neither a key
    nor a stored value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __str__(self) -> str:
        return "********"

    def __repr__(self) -> str:
        return "Secret(********)"
