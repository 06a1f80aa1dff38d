"""The panels: ramps with what they have shown, and what has happened to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from argo_mw.plugin import Button, Column, Context, Line, Panel, Shape, Tone, View
from argo_mw_rollout.ramp import Ramp
from argo_mw_rollout.ramp_commands import place_of
from argo_mw_rollout.ramps import Ramps

_NEWEST = 30
_TONES: Mapping[str, Tone] = {"rolled back": "bad", "done": "good"}


def panels(context: Context) -> Sequence[Panel]:
    """Return the panels of the ramps of the fleet."""
    ramps = Ramps(context)

    async def found() -> list[Ramp]:
        stored = [await ramps.read(flag) for flag in await ramps.flags()]
        return [one.ramp for one in stored if one.ramp is not None]

    async def read() -> View:
        open_first = sorted(await found(), key=lambda one: (one.ended, one.flag))
        return View([line for ramp in open_first for line in _lines(ramp)])

    async def read_journal() -> View:
        entries = [(entry, ramp.flag) for ramp in await found() for entry in ramp.journal]
        entries.sort(key=lambda one: -one[0].at)
        return View([Line((e.at, flag, e.what, e.why)) for e, flag in entries[:_NEWEST]])

    async def roll_back(flag: str) -> str:
        fleet = not context.single_process
        await context.flags.roll_back(flag, "a person pressed the button", fleet=fleet)
        return f"{flag} is rolled back"

    button = Button(
        "roll-back",
        "Roll back",
        roll_back,
        "Roll {} back: hold it off everywhere, and forget its answers?",
        in_journal=True,
    )
    columns = (
        "flag",
        "step",
        "status or metric",
        "treatment",
        "control",
        Column("change", "share"),
        Column("from", "share"),
        Column("to", "share"),
        "is",
    )
    happened = (Column("when", "time"), "flag", "what", "why")
    return (
        Panel("rollout", "Ramps", columns, read, buttons=(button,), fleet=True),
        Panel("rollout.journal", "Journal of ramps", happened, read_journal, fleet=True),
    )


def _lines(ramp: Ramp) -> list[Line]:
    why = ramp.hold or (ramp.journal[-1].why if ramp.ended and ramp.journal else "")
    status = f"{ramp.status}: {why}" if why else ramp.status
    tone: Tone = _TONES.get(ramp.status, "warn" if ramp.loud else "")
    key = "" if ramp.ended else ramp.flag
    lines = [Line((ramp.flag, place_of(ramp), status), key=key, tone=tone)]
    if ramp.ended:
        return lines
    evidence = cast("Sequence[Mapping[str, Shape]]", ramp.verdict.get("evidence") or ())
    return lines + [_evidence(one) for one in evidence]


def _evidence(one: Mapping[str, Shape]) -> Line:
    names = ("treatment", "control", "change", "low", "high", "state")
    return Line(("", "", one.get("words"), *(one.get(name) for name in names)))
