"""The live demo: signals flow until Ctrl-C, and the dashboard shows what happens."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

from argo_mw.plugin import Argo, ArgoError, ConfigError
from argo_mw_sandbox.demo import CALLERS, check_signals, open_sandbox, real_symbols, settings

PAUSE = 0.05
"""Seconds between two questions."""

_NEWS = 0.01
"""The share of questions preceded by news: no kept answer will do, and many callers ask."""


async def watch(
    data: Path | None = None,
    symbols: Sequence[str] = (),
    *,
    opens: bool = True,
    block: Sequence[str] = (),
    said: Callable[[Argo], object] = lambda _: None,
) -> None:
    """Ask for signals until it is cancelled, in an application that shows the dashboard.

    Args:
        data: A folder with the user's own bars, instead of the built-in real symbols.
        symbols: The symbols, by default all real ones.
        opens: Whether to open a browser.
        block: Names of plugins that are left out.
        said: Is given the application once it is open.

    Raises:
        ConfigError: The dashboard is not installed, nothing answers ``signal``, or *data* cannot be
            used.
    """
    if not entry_points(group="argo_mw", name="dashboard"):
        msg = "there is no dashboard to watch; `pip install argo-mw-dashboard`"
        raise ConfigError(msg)
    async with open_sandbox(data) as sandbox:
        wanted = list(symbols) or real_symbols(sandbox)
        config = settings(sandbox)
        tables, own = config["plugins"], config["argo"]
        assert isinstance(tables, dict)
        assert isinstance(own, dict)
        tables["dashboard"] = {"port": 0, "open": opens}
        own["block"] = list(block)
        async with Argo.open(config, clock=sandbox.clock) as argo:
            check_signals(argo)
            said(argo)
            async with asyncio.TaskGroup() as group:
                while True:
                    symbol = random.choice(wanted)
                    news = random.random() < _NEWS
                    if news:
                        await argo.invalidate(f"subject:{symbol}")
                    for _ in range(CALLERS if news else 1):
                        group.create_task(_ask(argo, symbol), name="argo-mw:demo")
                    await asyncio.sleep(PAUSE)


async def _ask(argo: Argo, symbol: str) -> None:
    try:
        await argo.outcome("signal", symbol=symbol)
    except ArgoError:
        return  # the dashboard shows it


def main() -> None:
    """Run it, for ``python -m argo_mw_sandbox.watch``, which ``argo-mw demo --watch`` starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", nargs="*")
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(watch(given.data, given.symbols))
    except ArgoError as error:
        sys.exit(f"argo-mw: {error}")


if __name__ == "__main__":
    main()
