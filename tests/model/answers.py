"""Answers that say what they were made for, in values of many shapes that callers can spoil."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from attrs import define, frozen

SHAPES = ("mapping", "list", "frame", "box")
"""What answers are made of; no store keeps a box."""


@frozen
class Stamp:
    """What an answer was made for.

    Attributes:
        owner: The tenant, or "" for all.
        operation: The operation.
        symbol: The symbol.
        version: Which state of the world it tells.
    """

    owner: str
    operation: str
    symbol: str
    version: int


@define
class Box:
    """A value of a class that no codec knows."""

    stamp: Stamp
    cells: list[float]


def make(shape: str, stamp: Stamp) -> object:
    """Return a fresh value of *shape*, with *stamp* on it."""
    fields = [stamp.owner, stamp.operation, stamp.symbol, stamp.version]
    cells = [0.0, 0.0, 0.0]
    if shape == "mapping":
        return {"stamp": fields, "cells": cells}
    if shape == "list":
        return [fields, cells]
    if shape == "box":
        return Box(stamp, cells)
    return pd.DataFrame({"cells": cells, **{str(n): [one] * 3 for n, one in enumerate(fields)}})


def stamp_of(value: Any) -> Stamp:
    """Return what *value* was made for."""
    if isinstance(value, Box):
        return value.stamp
    if isinstance(value, pd.DataFrame):
        owner, operation, symbol, version = (value[str(n)].iloc[0] for n in range(4))
        return Stamp(str(owner), str(operation), str(symbol), int(version))
    owner, operation, symbol, version = value["stamp" if isinstance(value, Mapping) else 0]
    return Stamp(owner, operation, symbol, version)


def cell_of(value: Any) -> float:
    """Return the cell that callers write into; it is 0 before any has."""
    if isinstance(value, pd.DataFrame):
        return float(value["cells"].iloc[0])
    return float(_cells(value)[0])


def spoil(value: Any, mark: float) -> None:
    """Write *mark* into *value*, as a caller may with what is its own."""
    if isinstance(value, pd.DataFrame):
        value.loc[0, "cells"] = mark
    else:
        _cells(value)[0] = mark


def _cells(value: Any) -> list[float]:
    if isinstance(value, Box):
        return value.cells
    cells: list[float] = value["cells" if isinstance(value, Mapping) else 1]
    return cells
