"""The flags and what decides them, where possible without importing a plugin.

Which flags there are follows from what plugins declare in their metadata and from the
configuration; what they are set to, from the configuration, the environment and the state
directory. Where more is needed than that, an application is opened, as for any other command.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from attrs import frozen

from argo_mw.base.errors import ConfigError
from argo_mw.cli.summary import source_of
from argo_mw.config import Settings
from argo_mw.config.state_dir import state_directory
from argo_mw.config.written import read_out
from argo_mw.flags import Flag, Rule
from argo_mw.flags.overlay import Overlay
from argo_mw.flags.parse import format_rule
from argo_mw.flags.sources import FLEET, OVERLAY, configured_rule, resolve
from argo_mw.registry.discovery import NO_FLAGS, OWN_FLAG, discover_flags

_UPSTREAM: Final = "upstream."
_NO_RULES: Mapping[str, Rule] = MappingProxyType({})
_FLEET_FILES: Final = "fleet-flags-*.json"
_PATIENCE: Final = 0.5
"""Seconds to wait for a program that writes to the store."""


@frozen
class FlagRow:
    """A flag, for people.

    Attributes:
        name: Its name.
        rule: What it is set to.
        source: What has set it, or holds it off.
        besides: What is set elsewhere, by where.
    """

    name: str
    rule: str
    source: str
    besides: Mapping[str, str]


@frozen
class FlagListing:
    """All flags, and why they may not be up to date, or ""."""

    rows: Sequence[FlagRow]
    stale: str = ""


def shown_rule(flag: Flag) -> str:
    """Return what *flag* is set to, with what is wrong with that."""
    return f"{format_rule(flag.rule)}: {flag.fault}" if flag.fault else format_rule(flag.rule)


def decided_by(flag: Flag) -> str:
    """Return what decides *flag*."""
    return flag.held_by or flag.source


def declared_flags(settings: Settings) -> FlagListing | None:
    """Return the flags as plugins declare them, or ``None`` where that is not all there is to know.

    A plugin that cannot be imported is not noticed: ``argo-mw doctor`` looks for those.
    """
    known = _declared_names(settings)
    if known is None or _may_be_set_for_the_fleet(settings):
        return None
    try:
        overlay = Overlay(state_directory(settings)).read()
        blocked = frozenset(settings.argo.block)
        flags = resolve(known, configured=settings.flags, overlay=overlay, left_out=blocked)
    except ConfigError:
        return None  # opening an application says what is wrong
    if any(flag.rule.shadows for flag in flags.values()):
        return None  # whether a layer can shadow, only the layer knows
    return FlagListing(_rows(flags, settings, overlay, _NO_RULES))


async def opened_flags(settings: Settings) -> FlagListing:
    """Return the flags of an application with *settings*.

    Raises:
        ArgoError: It cannot be opened.
    """
    from argo_mw.app.access import flags_of
    from argo_mw.app.application import Argo, engine_of

    async with Argo(settings, serves=False) as argo:
        pipeline = engine_of(argo).pipeline
        rows = _rows(pipeline.flags, pipeline.settings, pipeline.overlay, pipeline.fleet)
        return FlagListing(rows, flags_of(argo).stale)


def _rows(
    flags: Mapping[str, Flag],
    settings: Settings,
    overlay: Mapping[str, Rule],
    fleet: Mapping[str, Rule],
) -> Sequence[FlagRow]:
    rows = []
    for name, flag in flags.items():
        source, besides = decided_by(flag), {}
        for where, rules in ((OVERLAY, overlay), (FLEET, fleet)):
            if name in rules and where != source:
                besides[where] = format_rule(rules[name])
        if name in settings.flags and source != "argo.toml":
            besides["argo.toml"] = format_rule(configured_rule(name, settings.flags))
        rows.append(FlagRow(name, shown_rule(flag), source, besides))
    return rows


# -- which flags there are -------------------------------------------------------------------


def _declared_names(settings: Settings) -> Collection[str] | None:
    argo = settings.argo
    declared = discover_flags()
    named = {*settings.plugins, *argo.required, *argo.block}
    if not named <= declared.keys() or set(argo.required) & set(argo.block):
        return None  # opening an application says what is wrong with them
    names: list[str] = []
    for plugin, knowing in declared.items():
        if plugin in argo.block:
            continue
        if knowing is None:
            return None
        table = cast("Mapping[str, object]", read_out(settings.plugins.get(plugin, {})))
        found = _flags_of(plugin, knowing, table)
        if found is None:
            return None
        names += found
    return names if len(names) == len(set(names)) else None


def _flags_of(
    plugin: str, knowing: EntryPoint, table: Mapping[str, object]
) -> Sequence[str] | None:
    """Return the flags of *plugin* with its *table*; ``None`` where they cannot be known so."""
    if knowing.value in (OWN_FLAG, NO_FLAGS):
        return [plugin] if knowing.value == OWN_FLAG else []
    try:
        names = list(_function(knowing)(table))
    except Exception:  # opening an application says what is wrong with the plugin, or its table
        return None
    fits = all(name == plugin or name.startswith((_UPSTREAM, f"{plugin}.")) for name in names)
    return names if fits else None


def _function(knowing: EntryPoint) -> Callable[[Mapping[str, object]], Iterable[str]]:
    """Return the function that *knowing* names, from its module alone.

    The packages that the module is in are not imported: they would bring the plugin with them.
    """
    path = source_of(knowing.module)
    spec = None if path is None else spec_from_file_location(f"{__name__}.of_a_plugin", path)
    if spec is None or spec.loader is None:
        found = knowing.load()
    else:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        found = getattr(module, knowing.attr)
    return cast("Callable[[Mapping[str, object]], Iterable[str]]", found)


# -- what is set for the fleet ---------------------------------------------------------------


def _may_be_set_for_the_fleet(settings: Settings) -> bool:
    """Return whether flags may be set for the fleet: reading those takes the shared store."""
    match settings.argo.shared.reveal():
        case "memory://":
            return False  # shared with nobody
        case "sqlite":
            directory = state_directory(settings)
            remembered = any(directory.glob(_FLEET_FILES))
            return remembered or _may_hold_flags(directory / "shared.db")
        case _:
            return True


def _may_hold_flags(store: Path) -> bool:
    """Return whether the file of a shared *store* may have a value of the flags of the fleet."""
    if not store.exists():
        return False
    try:
        uri = f"{store.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=_PATIENCE)
        try:
            found = connection.execute("SELECT 1 FROM entries WHERE key = 'argo:flags'")
            return found.fetchone() is not None
        finally:
            connection.close()
    except sqlite3.Error:
        return True
