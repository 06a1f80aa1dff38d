"""The table ``[plugins.rollout]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from attrs import Attribute, evolve, field, frozen, validators

from argo_mw.plugin import ConfigError, suggest
from argo_mw_rollout.statistics import GUARDRAILS, METRICS, NAMES, Guardrail, Rules

STEPS: Final = ("shadow", "1%", "5%", "25%", "50%", "on")
"""The steps of a plan that names none."""

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?([smhd])")
_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s?%")


@frozen
class Stage:
    """One step of a plan.

    Attributes:
        state: What the flag is set to: ``shadow``, ``percent`` or ``on``.
        percent: The share for which the layer acts: 0 in shadow, 100 when it is on.
    """

    state: str
    percent: float

    @property
    def setting(self) -> str:
        """What a flag is set to in this step."""
        return f"{self.percent:g}%" if self.state == "percent" else self.state


def stages(steps: Sequence[str]) -> list[Stage]:
    """Return the steps that are written as *steps*.

    Raises:
        ConfigError: One cannot be read, or their shares do not grow.
    """
    if not steps:
        msg = f"a plan needs steps, such as {', '.join(STEPS)}"
        raise ConfigError(msg)
    found = [_stage(step) for step in steps]
    for one, two in pairwise(found):
        if two.percent <= one.percent:
            msg = f"step {two.setting!r} does not come after {one.setting!r}: let the shares grow"
            raise ConfigError(msg)
    return found


def duration(written: str) -> float:
    """Return the seconds that *written* means: ``30m``, ``90s``, ``2h`` or ``1d``.

    Raises:
        ConfigError: It means none.
    """
    match = _DURATION.fullmatch(written.strip())
    if match is None:
        msg = f"{written!r} is no length of time; write 90s, 30m, 2h or 1d"
        raise ConfigError(msg)
    return float(match[1]) * _SECONDS[match[2]]


def _stage(written: str) -> Stage:
    text = written.strip()
    if text in ("shadow", "on"):
        return Stage(text, 0.0 if text == "shadow" else 100.0)
    match = _PERCENT.fullmatch(text)
    if match is None or not 0.0 < float(match[1]) < 100.0:
        msg = f"{written!r} is no step; write shadow, on, or a share above 0 % and below 100 %"
        raise ConfigError(msg)
    return Stage("percent", float(match[1]))


def _readable(read: Any) -> Any:
    def check(_: object, __: Attribute[Any], value: Any) -> None:
        read(value)

    return check


def _known(names: Sequence[str]) -> Any:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        for name in value:
            if name not in names:
                msg = f"{attribute.name} has no metric {name!r}: {suggest(name, names)}"
                raise ConfigError(msg)

    return check


@frozen
class Plan:
    """A table ``[plugins.rollout.plans.FLAG]``: how a flag is ramped.

    Attributes:
        steps: The steps: ``shadow``, shares such as ``5%``, and ``on``.
        at_least: The least time that each step takes: ``90s``, ``30m``, ``2h`` or ``1d``.
        by: What is the same in a share: ``subject``, ``tenant`` or ``key``.
        guardrails: Margins by metric, other than the default: how much worse it may become without
            that it matters. 0 leaves a metric out.
        signals: The metrics of which one must have become better before the flag is on for all;
            none if the layer is to gain nothing that is measured.
        warm_up: The time at the begin of each step in which only wrong answers count.
        alpha: The probability that a layer which does no harm is ever rolled back in the ramp.
        min_subjects: Fewer subjects in an arm are never enough.
        audits: The share of calls that may be asked once more to check an answer; 0 for none, and
            then nothing is known of wrong answers.
    """

    steps: Sequence[str] = field(default=STEPS, validator=_readable(stages))
    at_least: str = field(default="30m", validator=_readable(duration))
    by: str = field(default="subject", validator=validators.in_(("subject", "tenant", "key")))
    guardrails: Mapping[str, float] = field(factory=dict, validator=_known(NAMES))
    signals: Sequence[str] = field(
        default=("requests", "usd", "slow", "slowest"), validator=_known(tuple(METRICS))
    )
    warm_up: str = field(default="5m", validator=_readable(duration))
    alpha: float = field(default=0.005, validator=[validators.gt(0), validators.lt(0.5)])
    min_subjects: int = field(default=10, validator=validators.ge(2))
    audits: float = field(default=0.01, validator=[validators.ge(0), validators.le(0.01)])

    @property
    def stages(self) -> list[Stage]:
        """The steps, read."""
        return stages(self.steps)

    @property
    def seconds(self) -> float:
        """The least seconds that each step takes."""
        return duration(self.at_least)

    @property
    def rules(self) -> Rules:
        """What the ramp is judged by."""
        margins = {**{n: rail.margin for n, rail in GUARDRAILS.items()}, **self.guardrails}
        rails: dict[str, Guardrail] = {
            name: evolve(GUARDRAILS[name], margin=margin)
            for name, margin in margins.items()
            if margin > 0
        }
        shares = sum(stage.state == "percent" for stage in self.stages)
        return Rules(
            rails,
            self.signals,
            self.alpha,
            max(shares, 1),
            duration(self.warm_up),
            min_subjects=self.min_subjects,
        )


@frozen
class RolloutConfig:
    """The table ``[plugins.rollout]``.

    Attributes:
        plans: How flags are ramped, by flag.
        baseline: The time for which subjects are counted before a ramp begins, at least; more is
            better, as what is usual for each of them is learned from it.
    """

    plans: Mapping[str, Plan] = field(factory=dict)
    baseline: str = field(default="1h", validator=_readable(duration))
