"""A flag: its rule, and the decision it makes for a call."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, Protocol

from attrs import evolve, field, frozen, validators

from argo_mw.flags.bucket import bucket, in_control, in_treatment

State = Literal["off", "shadow", "on"]
Unit = Literal["subject", "tenant", "key"]
Arm = Literal["treatment", "control", ""]

_MAX_UNITS = 10_000
_NO_SUBJECTS: Mapping[str, bool] = {}


class DecisionReason(StrEnum):
    """Why a flag decided as it did, in OpenFeature's words."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"
    ERROR = "ERROR"


@frozen
class Decision:
    """A flag's decision about one call.

    Attributes:
        on: Whether the layer acts.
        reason: Why.
        arm: The arm of a ramp that the call is in, or "".
        shadow: Whether the layer sees the answer, though it does not act.
    """

    on: bool
    reason: DecisionReason
    arm: Arm = ""
    shadow: bool = False


def _read_only(subjects: Mapping[str, bool]) -> Mapping[str, bool]:
    return MappingProxyType(dict(subjects))


@frozen
class Rule:
    """The setting of a flag.

    Attributes:
        state: The state when nothing below decides.
        percent: The share of units for which it is on, or ``None``.
        by: The unit that the share is taken of; equal units share an arm.
        subjects: Whether it is on for single subjects, whatever the share.
        killed: The kill switch: off, before everything else.
        rolled_back: Why a rollback holds it off, or "".
        only_holds: Whether it does no more than hold the flag off: what else decides is left to
            the sources below.
    """

    state: State = "on"
    percent: float | None = field(
        default=None,
        validator=validators.optional(validators.and_(validators.ge(0), validators.le(100))),
    )
    by: Unit = "subject"
    subjects: Mapping[str, bool] = field(default=_NO_SUBJECTS, converter=_read_only)
    killed: bool = False
    rolled_back: str = ""
    only_holds: bool = False

    @property
    def held(self) -> bool:
        """Whether a kill switch or a rollback holds it off."""
        return self.killed or bool(self.rolled_back)

    @property
    def constant(self) -> bool | None:
        """On or off for every call alike, or ``None`` when it depends on the call."""
        if self.held:
            return False
        if self.subjects or self.percent is not None:
            return None
        return self.state == "on"

    @property
    def shadows(self) -> bool:
        """Whether the layer shadows the calls for which no subject decides otherwise."""
        return self.state == "shadow" and self.percent is None and not self.held

    @property
    def idle(self) -> bool:
        """Whether the layer neither acts on any call nor shadows any."""
        return self.constant is False and not self.shadows


ON = Rule("on")
OFF = Rule("off")
HOLDS = Rule(only_holds=True)
"""Where a rule begins that does no more than hold a flag off."""

_KILLED = Decision(False, DecisionReason.DISABLED)
_STATIC: Mapping[State, Decision] = {
    "on": Decision(True, DecisionReason.STATIC),
    "shadow": Decision(False, DecisionReason.STATIC, shadow=True),
    "off": Decision(False, DecisionReason.STATIC),
}
_DEFAULT: Mapping[State, Decision] = {
    state: evolve(decision, reason=DecisionReason.DEFAULT) for state, decision in _STATIC.items()
}
_FAULTY = Decision(False, DecisionReason.ERROR)
_TARGET = {
    True: Decision(True, DecisionReason.TARGETING_MATCH),
    False: Decision(False, DecisionReason.TARGETING_MATCH),
}
_TREATMENT = Decision(True, DecisionReason.SPLIT, "treatment")
_CONTROL = Decision(False, DecisionReason.SPLIT, "control")
_NEITHER = Decision(False, DecisionReason.SPLIT)


class Asker(Protocol):
    """Who a flag decides about: a call, or what else has the units that shares are taken of."""

    @property
    def subject(self) -> str: ...

    @property
    def tenant(self) -> str: ...

    @property
    def key(self) -> str: ...


class Flag:
    """A named flag with a rule. Deciding never waits and never raises.

    Attributes:
        name: Its name.
        rule: Its rule.
        source: What set it.
        held_by: What holds it off, or "".
        fault: Why what was set cannot be used, so that it is off; or "".
    """

    __slots__ = ("_places", "fault", "held_by", "name", "rule", "source")

    def __init__(
        self,
        name: str,
        rule: Rule,
        *,
        source: str = "default",
        held_by: str = "",
        fault: str = "",
    ) -> None:
        self.name = name
        self.rule = rule
        if fault:
            self.rule = evolve(OFF, killed=rule.killed, rolled_back=rule.rolled_back)
        self.source = source
        self.held_by = held_by
        self.fault = fault
        self._places: dict[str, int] = {}

    def decide(self, call: Asker) -> Decision:
        """Return the decision for *call*: by kill switch, rollback, subject, share, state."""
        rule = self.rule
        if rule.killed or rule.rolled_back:
            return _KILLED
        override = rule.subjects.get(call.subject)
        if override is not None:
            return _TARGET[override]
        if rule.percent is None:
            if self.fault:
                return _FAULTY
            return (_DEFAULT if rule.subjects else _STATIC)[rule.state]
        place = self._place(_unit(rule.by, call))
        if in_treatment(place, rule.percent):
            return _TREATMENT
        return _CONTROL if in_control(place, rule.percent) else _NEITHER

    def _place(self, unit: str) -> int:
        place = self._places.get(unit)
        if place is None:
            if len(self._places) >= _MAX_UNITS:
                self._places.clear()
            place = self._places[unit] = bucket(self.name, unit)
        return place


def _unit(by: Unit, call: Asker) -> str:
    match by:
        case "subject":
            return call.subject or call.key
        case "tenant":
            return call.tenant
        case "key":
            return call.key
