"""Verdicts as plain data, for the journal, for JSON and for people."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from attrs import asdict

from argo_mw_rollout.statistics import Verdict, duration, report


def as_data(flag: str, verdict: Verdict) -> dict[str, object]:
    """Return *verdict* on *flag* as plain data; numbers without end are ``None``."""
    data = {name: _finite(value) for name, value in asdict(verdict).items()}
    data["seconds"] = _finite(verdict.seconds)
    data["text"] = report(flag, verdict.percent, verdict.evidence)
    data["wait"] = duration(verdict.seconds)
    return data


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
