"""What a fleet has set its flags to, as a value that any two processes can merge.

Each flag has two parts, each with the moment at which it was last changed: what was set, and
whether it is held off. The later change of each part counts, so merging gives the same in any order
and however often, and a kill outlives what others set meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeGuard

from attrs import evolve, field, frozen

from argo_mw.base.errors import ConfigError
from argo_mw.flags.changes import Change
from argo_mw.flags.model import HOLDS, Rule
from argo_mw.flags.parse import dump_rule, parse_rule

FORMAT: Final = 1
MAX_FLAGS: Final = 10_000
"""Flags of one fleet at most, those that were taken back included."""


@frozen
class FleetFlag:
    """What the fleet has set one flag to.

    Attributes:
        rule: What is set, and whether it is held off; ``None`` when it was taken back.
        set_at: When what is set was changed last, in microseconds since the epoch.
        held_at: When it was last held off or let go.
    """

    rule: Rule | None = None
    set_at: int = 0
    held_at: int = 0

    def changed(self, change: Change, now: int) -> FleetFlag:
        """Return this flag with the rule that *change* makes of its own, at *now*.

        It is the later one wherever clocks stand: a moment that is not after the last change
        counts as the next one.
        """
        rule = change(self.rule)
        at = max(now, self.set_at + 1, self.held_at + 1)
        return FleetFlag(
            rule,
            self.set_at if _setting(rule) == _setting(self.rule) else at,
            self.held_at if _hold(rule) == _hold(self.rule) else at,
        )

    def merged(self, other: FleetFlag) -> FleetFlag:
        """Return what follows from this one and the *other*: of each part the later one."""
        by_setting = max(self, other, key=_set_order)
        by_hold = max(self, other, key=_hold_order)
        return FleetFlag(
            _combined(by_setting.rule, by_hold.rule), by_setting.set_at, by_hold.held_at
        )


_NOTHING: Final = FleetFlag()
_NO_FLAGS: Mapping[str, FleetFlag] = MappingProxyType({})


def _read_only(flags: Mapping[str, FleetFlag]) -> Mapping[str, FleetFlag]:
    return MappingProxyType(dict(flags))


@frozen
class Fleet:
    """What a fleet has set its flags to.

    Attributes:
        flags: What is known of each flag, by name.
    """

    flags: Mapping[str, FleetFlag] = field(default=_NO_FLAGS, converter=_read_only)

    @cached_property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that are set, by flag."""
        return {name: one.rule for name, one in self.flags.items() if one.rule is not None}

    @cached_property
    def holds(self) -> Mapping[str, Rule]:
        """What holds flags off, without all else that is set."""
        return {
            name: _combined(None, rule) or rule for name, rule in self.rules.items() if rule.held
        }

    def changed(self, name: str, change: Change, now: float) -> Fleet:
        """Return this with flag *name* as *change* makes it, at *now*, in seconds since the epoch.

        Raises:
            ConfigError: There are too many flags.
        """
        one = self.flags.get(name, _NOTHING).changed(change, int(now * 1e6))
        if name not in self.flags and len(self.flags) >= MAX_FLAGS:
            msg = f"flag {name!r} cannot be set for the fleet, which has {MAX_FLAGS} of them"
            raise ConfigError(msg)
        return Fleet({**self.flags, name: one})

    def merged(self, other: Fleet) -> Fleet:
        """Return what follows from this and the *other*."""
        names = self.flags.keys() | other.flags.keys()
        merged = {
            name: self.flags.get(name, _NOTHING).merged(other.flags.get(name, _NOTHING))
            for name in sorted(names)
        }
        return Fleet(merged)


def dump_fleet(fleet: Fleet) -> dict[str, object]:
    """Return *fleet* as plain data that :func:`parse_fleet` reads back."""
    flags = {
        name: {
            "rule": None if one.rule is None else dump_rule(one.rule),
            "set_at": one.set_at,
            "held_at": one.held_at,
        }
        for name, one in sorted(fleet.flags.items())
    }
    return {"format": FORMAT, "flags": flags}


def parse_fleet(plain: object) -> Fleet:
    """Return the fleet in *plain*, whatever that is.

    Raises:
        ConfigError: It is not what :func:`dump_fleet` returns.
    """
    if not isinstance(plain, Mapping) or not isinstance(plain.get("flags"), Mapping):
        msg = "they are not a table"
        raise ConfigError(msg)
    if plain.get("format") != FORMAT:
        msg = f"they have the format {plain.get('format')!r}, and this version reads {FORMAT}"
        raise ConfigError(msg)
    if len(plain["flags"]) > MAX_FLAGS:
        msg = f"there are more than {MAX_FLAGS}"
        raise ConfigError(msg)
    return Fleet({str(name): _parse_flag(str(name), one) for name, one in plain["flags"].items()})


def _parse_flag(name: str, plain: object) -> FleetFlag:
    if not isinstance(plain, Mapping):
        msg = f"flag {name!r} is not a table"
        raise ConfigError(msg)
    set_at, held_at = plain.get("set_at"), plain.get("held_at")
    if not (_is_moment(set_at) and _is_moment(held_at)):
        msg = f"flag {name!r} was changed at no known time"
        raise ConfigError(msg)
    rule = plain.get("rule")
    return FleetFlag(None if rule is None else parse_rule(name, rule), set_at, held_at)


def _is_moment(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _setting(rule: Rule | None) -> Rule | None:
    """Return what *rule* sets, without its holds; ``None`` when it sets nothing."""
    if rule is None or rule.only_holds:
        return None
    return evolve(rule, killed=False, rolled_back="")


def _hold(rule: Rule | None) -> tuple[bool, str]:
    return (False, "") if rule is None else (rule.killed, rule.rolled_back)


def _combined(setting: Rule | None, hold: Rule | None) -> Rule | None:
    """Return the rule that sets what *setting* does and holds as *hold* does."""
    killed, rolled_back = _hold(hold)
    sets = _setting(setting)
    if sets is None and not (killed or rolled_back):
        return None
    return evolve(HOLDS if sets is None else sets, killed=killed, rolled_back=rolled_back)


# Two changes at the same moment: any order will do that is the same everywhere.
def _set_order(one: FleetFlag) -> tuple[int, str]:
    setting = _setting(one.rule)
    return one.set_at, "" if setting is None else repr(sorted(dump_rule(setting).items()))


def _hold_order(one: FleetFlag) -> tuple[int, bool, str]:
    return one.held_at, *_hold(one.rule)
