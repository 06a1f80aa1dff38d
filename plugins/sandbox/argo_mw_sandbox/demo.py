"""What the demos share: a sandbox, a configuration that leads to it, and its real symbols."""

from __future__ import annotations

from pathlib import Path

from argo_mw.plugin import (
    Argo,
    ConfigError,
    UnknownOperation,
    context_of,
)
from argo_mw_sandbox.config import SandboxConfig
from argo_mw_sandbox.latency import TYPICAL
from argo_mw_sandbox.server import Sandbox

CALLERS = 20
"""How many callers ask for every symbol at once."""

VENDORS = ("alpaca", "massive", "alphavantage")
_KEY = "demo"


def open_sandbox(data: Path | None) -> Sandbox:
    """Return a sandbox of the user's bars, re-dated to end on one day, or of the built-in ones."""
    try:
        return Sandbox(SandboxConfig(data=data, align=data is not None, latency=TYPICAL))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def settings(sandbox: Sandbox) -> dict[str, object]:
    """Return a configuration that leads to *sandbox* and leaves nothing behind."""
    keys = {"key": _KEY}
    return {
        "argo": {"shared": "memory://"},
        "plugins": {
            "market": {
                "alpaca": {"url": sandbox.url("alpaca"), "secret": _KEY, **keys},
                "massive": {"url": sandbox.url("massive"), **keys},
                "alphavantage": {"url": sandbox.url("alphavantage"), **keys},
            }
        },
    }


def real_symbols(sandbox: Sandbox) -> list[str]:
    """Return the symbols with real prices."""
    return [str(s["symbol"]) for s in sandbox.symbols() if s["source"] != "synthetic"]


def check_signals(argo: Argo) -> None:
    """Check that something answers ``signal``.

    Raises:
        ConfigError: Nothing does.
    """
    try:
        context_of(argo).operation("signal")
    except UnknownOperation:
        msg = (
            "nothing answers 'signal'; install the plugins with "
            "`pip install argo-mw-market argo-mw-signals`"
        )
        raise ConfigError(msg) from None
