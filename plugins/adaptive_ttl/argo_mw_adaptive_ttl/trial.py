"""The trial: is the model worth its place, or does fixed spacing serve better prices?

Each fetch reveals what the answer before it was off by, minute by minute, and what one of fixed
spacing would have been off by, with as many fetches. Their difference is summed in blocks of as
many minutes as some dozen fetches are due for, and so is its square. When the sum exceeds
:data:`CERTAINTY` times the root of the sum of squares, its own noise, the model is worse, and fixed
spacing decides for some blocks; then the model is tried again. Each failure doubles the wait, so
trials become as rare as they are useless.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from attrs import define

CERTAINTY: Final = 1.64
"""How many times its own noise the model's excess must be to count: 5 % of all, of an equal one."""

BLOCK: Final = 40.0
"""The fetches that are due in one block: a session's, at one in ten minutes."""

_DECAY: Final = 0.5 ** (1.0 / 40.0)
_FIRST_WAIT: Final = 10.0
_MAX_FAILURES: Final = 6


@define
class Trial:
    """The running comparison of one symbol's model with fixed spacing.

    Attributes:
        failures: How often in turn the model was found to be worse.
        wait: For how many more blocks fixed spacing decides; 0 if the model does.
    """

    failures: int = 0
    wait: float = 0.0
    _excess: float = 0.0
    _noise: float = 0.0
    _model: float = 0.0
    _fixed: float = 0.0
    _minutes: float = 0.0
    _total_model: float = 0.0
    _total_fixed: float = 0.0

    @property
    def fixed_decides(self) -> bool:
        """Return whether the model was found to be worse, and waits."""
        return self.wait > 0.0

    @property
    def score(self) -> float:
        """Return the model's excess over its own noise; below 0 it is better."""
        return self._excess / sqrt(self._noise) if self._noise > 0.0 else 0.0

    @property
    def ratio(self) -> float | None:
        """Return the model's rms error over that of fixed spacing, or ``None`` at first."""
        if self._total_fixed <= 0.0:
            return None
        return sqrt(self._total_model / self._total_fixed)

    def add(self, minutes: float, model: float, fixed: float, spacing: float) -> None:
        """Add *minutes* in which the squared errors, in bp², came to *model* and to *fixed*.

        *spacing* is the number of minutes for which one fetch is due.
        """
        self._minutes += minutes
        self._model += model
        self._fixed += fixed
        if self._minutes >= BLOCK * spacing:
            self._conclude(self._minutes / (BLOCK * spacing))

    def _conclude(self, blocks: float) -> None:
        difference = self._model - self._fixed
        model, fixed = self._model, self._fixed
        self._minutes = self._model = self._fixed = 0.0
        if self.wait > 0.0:
            self.wait = max(0.0, self.wait - blocks)
            return
        self._total_model = self._total_model * _DECAY + model
        self._total_fixed = self._total_fixed * _DECAY + fixed
        self._excess = self._excess * _DECAY + difference
        self._noise = self._noise * _DECAY * _DECAY + difference * difference
        score = self.score
        if score > CERTAINTY:
            self.wait = _FIRST_WAIT * 2.0**self.failures
            self.failures = min(self.failures + 1, _MAX_FAILURES)
            self._excess = self._noise = self._total_model = self._total_fixed = 0.0
        elif score < -CERTAINTY:
            self.failures = 0
