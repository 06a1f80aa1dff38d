"""Findings as text: tables for the terminal, and for pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from argo_mw_compare.scenarios.promise import Findings, Promise

HEAD = ("promise", "original", "behind the chain", "ours", "bar", "the plan", "")
_SHOWN_HEAD = ("part", "figure", "original", "behind the chain")


def tables(found: Findings) -> Iterator[Table]:
    """Yield the tables of one scenario, for the terminal."""
    promises = Table(*HEAD, title=found.title, title_justify="left", box=None, pad_edge=False)
    for one in found.promises:
        promises.add_row(*cells(one))
    yield promises
    if found.shown:
        parts = Table(*_SHOWN_HEAD, box=None, pad_edge=False)
        for shown in found.shown:
            parts.add_row(shown.phase, shown.title, shown.before, shown.after)
        yield parts


def cells(promise: Promise) -> tuple[str, ...]:
    """Return *promise* as a row of a table."""
    bar = f"{'≥' if promise.at_least else '≤'} {promise.bar:g}"
    return (
        promise.title,
        _value(promise.before, promise.unit),
        _value(promise.after, promise.unit),
        _value(promise.ours, ""),
        bar,
        promise.plan,
        "met" if promise.met else "not met",
    )


def markdown(several: Sequence[Findings]) -> str:
    """Return the promises of *several* scenarios, in one table."""
    rows = [
        (f"{found.scenario}: {cells(one)[0]}", *cells(one)[1:])
        for found in several
        for one in found.promises
    ]
    return _markdown(HEAD, rows)


def page_of(found: Findings) -> str:
    """Return all of one scenario: its parameters, its promises, what to know of them, its parts."""
    given = "".join(f"- {text}\n" for text in found.given)
    text = f"{given}\n{markdown([found])}"
    if found.said:
        text += "\n" + "".join(f"- {one}\n" for one in found.said)
    if found.shown:
        rows = [(one.phase, one.title, one.before, one.after) for one in found.shown]
        text += f"\n{_markdown(_SHOWN_HEAD, rows)}"
    return text


def read_findings(plain: Mapping[str, object]) -> Findings:
    """Return what :meth:`Findings.as_dict` made plain."""
    from cattrs import structure

    promises = plain["promises"]
    assert isinstance(promises, list)
    known = [{name: value for name, value in one.items() if name != "met"} for one in promises]
    return structure({**plain, "promises": known}, Findings)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{digits} {unit}".strip()
