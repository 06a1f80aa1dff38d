"""Applications of scenarios: the installed plugins that take part, and no other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from argo_mw.plugin import Argo, Clock, ConfigError
from argo_mw_compare.experiment import installed_plugins
from argo_mw_compare.vendors import Vendors

KEY = "compare"
"""The key that the sandbox is given; it accepts any."""


def service(
    folder: Path,
    takes_part: Collection[str],
    *,
    plugins: Mapping[str, object],
    tables: Mapping[str, object] | None = None,
    shared: str = "memory://",
    clock: Clock | None = None,
    **config: object,
) -> Argo:
    """Return an application, not open yet, with its state in *folder*.

    Args:
        folder: Its state directory, made if it is missing.
        takes_part: The installed plugins that it has; every other one is blocked.
        plugins: Plugins of the scenario's own, by name.
        tables: The plugins' tables of the configuration.
        shared: The URL of the shared store.
        clock: Where time comes from; the system's by default.
        config: Further parts of the configuration, such as ``flags``.

    Raises:
        ConfigError: A plugin of *takes_part* is not installed.
    """
    installed = installed_plugins()
    lacking = sorted(set(takes_part) - installed)
    if lacking:
        named = " ".join(f"argo-mw-{name.replace('_', '-')}" for name in lacking)
        msg = f"the scenario needs plugins that are not installed: pip install {named}"
        raise ConfigError(msg)
    folder.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "argo": {
            "state_dir": str(folder),
            "shared": shared,
            # A plugin that does not open is not part of what is measured.
            "strict": True,
            "block": sorted(installed - set(takes_part)),
        },
        "plugins": dict(tables or {}),
        **config,
    }
    return Argo.open(settings, plugins=plugins, clock=clock)


def market_table(vendors: Vendors) -> Mapping[str, object]:
    """Return the table of the plugin ``market``, by which it asks *vendors*."""
    access = {"key": KEY}
    return {
        "alpaca": {"url": vendors.url("alpaca"), "secret": KEY, **access},
        "massive": {"url": vendors.url("massive"), **access},
    }
