"""Copies of an outcome: each of several callers that one answer reaches gets a value of its own."""

from __future__ import annotations

from argo_mw.base.error_copies import copy_error
from argo_mw.base.errors import NotShareable
from argo_mw.base.snapshots import Snapshot, snapshot
from argo_mw.model.outcome import Outcome
from argo_mw.model.stream import Stream


class OutcomeCopies:
    """One result, an outcome or an error, for several callers.

    Made before the first of them gets it, so that none sees what another does to theirs. Of a
    stream each gets a handle: its readers are independent, and get copies of what is read.

    Args:
        result: The result; it belongs to these copies from now on.
    """

    __slots__ = ("_error", "_original", "_outcome", "_snapshot")

    def __init__(self, result: Outcome | Exception) -> None:
        self._original: Outcome | Exception | None = None
        self._outcome: Outcome | None = None
        self._snapshot: Snapshot | None = None
        self._error: Exception | None = None
        if isinstance(result, Exception):
            # The first caller gets what was raised, as it was; a copy is what others are made from.
            self._original, self._error = result, copy_error(result)
        elif isinstance(result.value, Stream):
            self._outcome = result
        else:
            self._keep(result)

    def take(self) -> Outcome:
        """Return the outcome for one caller.

        Raises:
            Exception: The error, for this caller alone.
            NotShareable: The value cannot be copied, and another caller has got it.
        """
        original, self._original = self._original, None
        if isinstance(original, Exception):
            raise original
        if original is not None:
            return original
        if self._error is not None:
            raise copy_error(self._error)
        assert self._outcome is not None
        if isinstance(self._outcome.value, Stream):
            return self._outcome.evolve(value=self._outcome.value.share())
        assert self._snapshot is not None
        value = self._snapshot.copy()
        return self._outcome if value is self._outcome.value else self._outcome.evolve(value=value)

    def _keep(self, outcome: Outcome) -> None:
        try:
            kept = snapshot(outcome.value)
        except NotShareable as error:
            self._original, self._error = outcome, error
            return
        self._snapshot = kept
        as_is = kept.copy() is outcome.value
        self._outcome = outcome if as_is else outcome.evolve(value=None)


def own_value(outcome: Outcome) -> Outcome:
    """Return *outcome* with a copy of its value, for a second caller.

    Raises:
        NotShareable: The value cannot be copied.
    """
    if isinstance(outcome.value, Stream):
        return outcome.evolve(value=outcome.value.share())
    value = snapshot(outcome.value).copy()
    return outcome if value is outcome.value else outcome.evolve(value=value)
