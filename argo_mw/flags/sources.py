"""Where rules come from: the file, the fleet, the overlay, the environment; the later wins.

A kill switch or a rollback of the fleet or of the overlay holds, whatever those after it set.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from attrs import evolve

from argo_mw.base.errors import ConfigError
from argo_mw.base.suggest import suggest_with_absent
from argo_mw.flags.model import ON, Flag, Rule
from argo_mw.flags.parse import parse_rule

ENVIRONMENT = "ARGO_MW_FLAG_"

DEFAULT = "default"
FLEET = "fleet"
OVERLAY = "overlay"

_NOTHING: Mapping[str, Rule] = MappingProxyType({})


def environment_variable(name: str) -> str:
    """Return the variable that overrides flag *name*: ``ARGO_MW_FLAG_UPSTREAM__NAME``."""
    return ENVIRONMENT + name.upper().replace(".", "__")


def resolve(
    known: Iterable[str],
    *,
    configured: Mapping[str, object],
    overlay: Mapping[str, Rule],
    fleet: Mapping[str, Rule] = _NOTHING,
    left_out: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> dict[str, Flag]:
    """Return every known flag with the rule that holds for it.

    Args:
        known: The names of the flags that exist.
        configured: What ``[flags]`` sets.
        overlay: What was set by command for this machine.
        fleet: What was set for the fleet.
        left_out: Plugins that are blocked or left out: what is set for their flags is no mistake.
        environ: The environment; by default that of the process.

    Raises:
        ConfigError: A flag that is set does not exist, or is set to nonsense.
    """
    names = set(known)
    environ = os.environ if environ is None else environ
    unknown = {name: "[flags]" for name in configured if name not in names}
    variables = {environment_variable(name) for name in names}
    for variable in environ:
        if variable.startswith(ENVIRONMENT) and variable not in variables:
            name = variable.removeprefix(ENVIRONMENT).lower().replace("__", ".")
            unknown[name] = f"the environment ({variable})"
    for name, where in unknown.items():
        if name.partition(".")[0] not in left_out:
            raise unknown_flag(name, names, where=where, absent=left_out)
    return {name: _resolve_one(name, configured, fleet, overlay, environ) for name in sorted(names)}


def _resolve_one(
    name: str,
    configured: Mapping[str, object],
    fleet: Mapping[str, Rule],
    overlay: Mapping[str, Rule],
    environ: Mapping[str, str],
) -> Flag:
    rule = configured_rule(name, configured)
    source = "argo.toml" if name in configured else DEFAULT
    held_by = source if rule.held else ""
    hold = Rule()
    for where, rules in ((FLEET, fleet), (OVERLAY, overlay)):
        set_there = rules.get(name)
        if set_there is None:
            continue
        if not set_there.only_holds:
            rule, source = set_there, where
            held_by = held_by if hold.held else ""
        if set_there.held and not hold.held:
            hold, held_by = set_there, where
    if hold.held:
        rule = evolve(rule, killed=hold.killed, rolled_back=hold.rolled_back)
    variable = environment_variable(name)
    if variable in environ:
        override = parse_rule(name, environ[variable])
        held = evolve(override, killed=rule.killed, rolled_back=rule.rolled_back)
        rule, source = held, variable
    return Flag(name, rule, source=source, held_by=held_by)


def configured_rule(name: str, configured: Mapping[str, object]) -> Rule:
    """Return what the configuration alone sets flag *name* to."""
    return parse_rule(name, configured[name]) if name in configured else ON


def unknown_flag(
    name: str,
    known: Iterable[str],
    *,
    where: str,
    does: str = "sets",
    absent: Collection[str] = (),
) -> ConfigError:
    """Return the error for a flag that does not exist."""
    hint = suggest_with_absent(name, known, absent)
    return ConfigError(f"{where} {does} flag {name!r}, which does not exist: {hint}")
