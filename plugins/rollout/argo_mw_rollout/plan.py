"""Plans: the steps of a ramp, how long each lasts, and what must not become worse."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import evolve, field, frozen, validators

from argo_mw.plugin import BadParameter, ConfigError, Shown, seconds, suggest
from argo_mw_rollout.statistics import GUARDRAILS, METRICS, Guardrail, Rules

STEPS: Final = ("shadow", "1%", "5%", "25%", "50%", "on")
"""The steps of a plan that names none."""

LEAST: Final = 0.01
"""The smallest share, in percent: that of one bucket."""

SIGNALS: Final = tuple(Rules().signals)
"""The signals of a plan that names none."""

_PERCENT: Final = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s{0,20}%")
_BY: Final = ("subject", "tenant", "key")


def percent_of(step: str) -> float | None:
    """Return the share of *step*, or ``None`` where it has none: ``shadow``, ``off`` and ``on``.

    Raises:
        ValueError: It is not a step.
    """
    if step in ("off", "shadow", "on"):
        return None
    match = _PERCENT.fullmatch(step.strip())
    if match is None or not LEAST <= float(match[1]) < 100.0:
        msg = (
            f"{step!r} is not a step; write shadow, a share such as 5% (at least {LEAST:g}%), or on"
        )
        raise ValueError(msg)
    return float(match[1])


def _steps(_: object, __: object, steps: Sequence[str]) -> None:
    if not steps:
        msg = "a plan needs steps, such as 1%, 10%, on"
        raise ValueError(msg)
    before = 0.0
    for place, step in enumerate(steps):
        share = percent_of(step)
        if share is None:
            wanted = {"off": 0, "shadow": 0, "on": len(steps) - 1}[step]
            if place != wanted:
                where = "first" if wanted == 0 else "last"
                msg = f"{step!r} can only be the {where} of the steps"
                raise ValueError(msg)
        elif share <= before:
            msg = f"{step!r} is not more than the step before it; a ramp only grows"
            raise ValueError(msg)
        else:
            before = share


def _duration(_: object, __: object, written: str) -> None:
    try:
        seconds(written)
    except BadParameter as error:
        raise ValueError(str(error)) from error


def _unit(_: object, __: object, by: str) -> None:
    if by not in _BY:
        msg = f"a share is taken by subject, tenant or key, not by {by!r}"
        raise ValueError(msg)


def _known(_: object, __: object, margins: Mapping[str, float]) -> None:
    for name, margin in margins.items():
        if name not in GUARDRAILS:
            msg = f"there is no guardrail {name!r}: {suggest(name, GUARDRAILS)}"
            raise ValueError(msg)
        if not 0.0 < margin < math.inf:
            msg = (
                f"the margin of {name} is {margin!r}; give what does not matter, above zero, or "
                f"leave it unguarded: without = [{name!r}]"
            )
            raise ValueError(msg)


def _guarded(_: object, __: object, names: Sequence[str]) -> None:
    for name in names:
        if name not in GUARDRAILS:
            msg = f"there is no guardrail {name!r}: {suggest(name, GUARDRAILS)}"
            raise ValueError(msg)


def _signals(_: object, __: object, names: Sequence[str]) -> None:
    for name in names:
        if name not in METRICS:
            msg = f"there is no metric {name!r}: {suggest(name, METRICS)}"
            raise ValueError(msg)


def _texts(data: object) -> tuple[str, ...]:
    if not isinstance(data, list | tuple):
        raise TypeError
    return tuple(str(one) for one in data)


@frozen
class Plan:
    """A table ``[plugins.rollout.plans.FLAG]``.

    Attributes:
        steps: The settings of the flag, in order: optionally ``shadow`` or ``off`` first, then
            growing shares, and optionally ``on`` last.
        at_least: The shortest duration of a step, such as ``30m``.
        warm_up: How long counts are ignored at the beginning of a step, since layers warm up.
        baseline: How long subjects are watched before the first step, since each is later compared
            with itself.
        by: The units of a share: ``subject``, ``tenant`` or ``key``.
        guardrails: How much worse each metric may become, by its name: the harm that you accept.
            Other metrics have their defaults.
        without: Metrics that are not guarded, such as ``wrong`` and ``distance`` where answers
            cannot be checked.
        signals: The metrics of which at least one must improve before the flag is on for all.
        min_blocks: The fewest blocks of time for a step.
        min_subjects: The fewest subjects in each arm.
    """

    steps: tuple[Shown, ...] = field(default=STEPS, validator=_steps)
    at_least: Shown = field(default="30m", validator=_duration)
    warm_up: Shown = field(default="2m", validator=_duration)
    baseline: Shown = field(default="30m", validator=_duration)
    by: Shown = field(default="subject", validator=_unit)
    guardrails: Mapping[str, float] = field(factory=dict, validator=_known)
    without: tuple[Shown, ...] = field(default=(), validator=_guarded)
    signals: tuple[Shown, ...] = field(default=SIGNALS, validator=_signals)
    min_blocks: int = field(default=20, validator=validators.ge(2))
    min_subjects: int = field(default=10, validator=validators.ge(2))

    @property
    def rules(self) -> Rules:
        """What the statistics judge it by."""
        return Rules(
            self.margins,
            self.signals,
            steps=max(1, sum(percent_of(step) is not None for step in self.steps)),
            warm_up=seconds(self.warm_up),
            min_blocks=self.min_blocks,
            min_subjects=self.min_subjects,
        )

    @property
    def margins(self) -> Mapping[str, Guardrail]:
        """The guardrails, by metric."""
        return {
            name: evolve(rail, margin=self.guardrails.get(name, rail.margin))
            for name, rail in GUARDRAILS.items()
            if name not in self.without
        }

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        return {
            "steps": list(self.steps),
            "at_least": self.at_least,
            "warm_up": self.warm_up,
            "baseline": self.baseline,
            "by": self.by,
            "guardrails": dict(self.guardrails),
            "without": list(self.without),
            "signals": list(self.signals),
            "min_blocks": self.min_blocks,
            "min_subjects": self.min_subjects,
        }

    @classmethod
    def of_data(cls, data: Mapping[str, object]) -> Plan:
        """Return the plan that *data* describes.

        Raises:
            ConfigError: It is not such data.
        """
        try:
            rails = data["guardrails"]
            if not isinstance(rails, Mapping):
                raise TypeError
            return cls(
                _texts(data["steps"]),
                str(data["at_least"]),
                str(data["warm_up"]),
                str(data["baseline"]),
                str(data["by"]),
                {str(name): float(margin) for name, margin in rails.items()},
                _texts(data["without"]),
                _texts(data["signals"]),
                int(str(data["min_blocks"])),
                int(str(data["min_subjects"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the plan of a ramp cannot be read: {error}"
            raise ConfigError(msg) from error
