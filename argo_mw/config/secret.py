"""Secrets: values that no log, error or dump shows."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class Secret:
    """A value that must not be seen.

    ``repr`` and ``str`` hide it; :meth:`reveal` is the one way to it, for the moment it is sent.
    It has no fingerprint, so it cannot become part of a key.
    """

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __str__(self) -> str:
        return "********"
