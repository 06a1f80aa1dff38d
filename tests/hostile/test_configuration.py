"""Every number of the configuration may be any number: it is used, or refused with a reason."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import pytest

from argo_mw import Argo, ArgoError, ConfigError
from argo_mw.config import parse
from argo_mw.config.convert import structure
from argo_mw.config.settings import ArgoSettings, OperationSettings, UpstreamSettings
from argo_mw.registry import Plugins

ODD = (
    *(0, 1, 2**31, 2**63, 2**64, 10**30, 10**400),
    *(-0.0, 5e-324, 1e-9, 1e18, 1e300, 1e308, math.inf, math.nan, -1),
)
PLUGINS = {name: Plugins.load().config_class(name) for name in Plugins.load().names}
TABLES: Mapping[tuple[str, ...], Any] = {
    ("argo",): ArgoSettings,
    ("operations", "f"): OperationSettings,
    ("upstreams", "f"): UpstreamSettings,
    **{("plugins", name): kind for name, kind in PLUGINS.items() if kind is not None},
}
NOT_HERE = {"max_usd", "port"}
"""Keys that speak of something else than how long or how much: a port may be taken."""


def _numbers(kind: type, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the numbers in the table *kind*."""
    hints = get_type_hints(kind)
    for field in attrs.fields(kind):  # type: ignore[arg-type]
        hint = hints[field.name]
        if isinstance(hint, type) and attrs.has(hint):
            yield from _numbers(hint, (*path, field.name))
        elif str(hint) in {"<class 'int'>", "<class 'float'>", "int | None", "float | None"}:
            yield (*path, field.name)


def _table(paths: Iterator[tuple[str, ...]] | list[tuple[str, ...]], value: object) -> Any:
    table: dict[str, Any] = {}
    for *above, last in paths:
        at = table
        for name in above:
            at = at.setdefault(name, {})
        at[last] = value
    return table


def _is_taken(kind: type, path: tuple[str, ...], value: object) -> bool:
    """Return whether the table *kind* takes *value* at *path*; it says why where it does not."""
    try:
        structure(_table([path], value), kind, where="argo.toml")
    except ConfigError as error:
        why = str(error)
    else:
        return True
    assert path[-1] in why
    assert len(why) < 600
    return False


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{value!r:.12}")
@pytest.mark.parametrize("at", TABLES, ids=".".join)
async def test_every_number_is_used_or_refused(
    at: tuple[str, ...], value: float, tmp_path: Path
) -> None:
    paths = [path for path in _numbers(TABLES[at]) if not NOT_HERE & set(path)]
    taken = [path for path in paths if _is_taken(TABLES[at], path, value)]
    if not taken:
        return
    table = _table([(*at, *path) for path in taken], value)
    table.setdefault("argo", {}).update({"shared": "sqlite", "state_dir": str(tmp_path)})
    table.setdefault("operations", {}).setdefault("f", {})
    parse(table)
    try:
        async with asyncio.timeout(20), Argo.open(table) as argo:

            @argo.wrap(name="f", subject="symbol")
            async def f(symbol: str) -> list[object]:
                await asyncio.sleep(0)
                return [{"t": 1_700_000_000, "c": 1.0}]

            for _ in range(2):
                await asyncio.gather(*(argo.call("f", symbol="AAPL") for _ in range(3)))
            argo.explain("f", symbol="AAPL")
            await argo.invalidate("subject:AAPL")
            await argo.call("f", symbol="AAPL")
            reasons = [one.error for one in argo.broken]
    except ArgoError as error:
        reasons = [str(error)]
    for reason in reasons:
        assert not any(name in reason for name in ("OverflowError", "TypeError", "ValueError"))
