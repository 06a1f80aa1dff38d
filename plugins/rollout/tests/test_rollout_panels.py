"""The panels of ramps: what they have shown, and a button to roll back."""

from __future__ import annotations

from pathlib import Path

from argo_mw import Argo
from argo_mw.plugin import Layer, context_of
from argo_mw.testing import FakeClock, FakePlugin
from argo_mw_rollout import RolloutPlugin
from argo_mw_rollout.plan import Plan
from argo_mw_rollout.ramp import Ramp
from argo_mw_rollout.ramps import Ramps


async def untouched(call, call_next):
    return await call_next(call)


async def test_a_ramp_is_shown_with_its_intervals_and_rolled_back_by_a_person(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    config = {
        "argo": {"shared": "memory://", "state_dir": str(tmp_path), "watch": False},
        "flags": {"bold": "50%"},
        "plugins": {"rollout": {"judge": False}},
    }
    plugins = {
        "rollout": RolloutPlugin(),
        "bold": FakePlugin(layer=Layer("bold", untouched, before=("coalesce",))),
    }
    evidence = {
        "words": "requests for each call", "treatment": 0.5, "control": 1.0, "change": -0.5,
        "low": -0.6, "high": -0.4, "state": "better",
    }  # fmt: skip
    now = clock.time()
    plan = Plan(steps=("50%", "on"))
    running = Ramp(
        "bold", plan, started=now, since=now, place=0, before="off", hold="it waits", loud=True,
        verdict={"evidence": [evidence]},
    ).noted(now, "step", "50%")  # fmt: skip
    ended = Ramp("old", plan, started=now, since=now, status="done").noted(now + 1, "done", "fine")
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        context = context_of(argo)
        for ramp in (running, ended):
            await Ramps(context).change(ramp.flag, lambda _, ramp=ramp: ramp)
        views = await context.panels.read_here(fleet=True)
        done = await context.overview().press("rollout", "roll-back", "bold")
        held = context.flags.all["bold"].rule.rolled_back
        journal = [entry.what for entry in await context.journal.read()]
    lines = views["rollout"].lines
    assert [line.cells[:3] for line in lines] == [
        ("bold", "50%", "running: it waits"),
        ("", "", "requests for each call"),
        ("old", "learning what is usual", "done: fine"),
    ]
    assert lines[1].cells[3:] == (0.5, 1.0, -0.5, -0.6, -0.4, "better")
    assert [(line.key, line.tone) for line in lines] == [("bold", "warn"), ("", ""), ("", "good")]
    happened = views["rollout.journal"].lines
    assert [line.cells[1:] for line in happened] == [
        ("old", "done", "fine"),
        ("bold", "step", "50%"),
    ]
    assert (done, held) == ("bold is rolled back", "a person pressed the button")
    assert journal == ["roll back bold, for this machine"]
