"""Scenario: a week of scripts on two machines that ask a model.

The original wrapper keeps the answer to each text for a day, in a file of its own for each script
and machine. Behind the chain, ``cache`` and ``similarity`` keep answers for as long in a store that
both machines share, and serve them to prompts that ask the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from argo_mw.plugin import AnyOperation, Argo, Call, Outcome, Upstream, hookimpl, operation
from argo_mw_compare.clock import WarpClock
from argo_mw_compare.scenarios.agentic_prompts import (
    DAY,
    MACHINES,
    OUTPUT_TOKENS,
    TOLERANCE,
    WORKDAYS,
    Asked,
    week,
)
from argo_mw_compare.scenarios.promise import Findings, Promise, Shown, at_most
from argo_mw_compare.scenarios.service import service

_LAYERS: Final = ("cache", "coalesce", "similarity")
_MONDAY: Final = datetime(2013, 2, 25, tzinfo=UTC)
_STILL: Final = 1e-6
_PRICE: Final = (3.0, 15.0)
"""USD per million tokens in and out, as the plan has them."""
_BYTES_PER_TOKEN: Final = 4
_KINDS: Final = ("repeated", "templated", "rephrased", "twin")
_TITLE: Final = "Agentic scripts: a week of prompts on two machines"


@define
class Seen:
    """What was seen of one way to ask.

    Attributes:
        asked: Prompts, by kind.
        calls: Calls that reached the model, by kind.
        usd: What they cost.
        wrong: The prompts that got the answer to another question.
    """

    asked: Counter[str] = field(factory=Counter)
    calls: Counter[str] = field(factory=Counter)
    usd: float = 0.0
    wrong: list[str] = field(factory=list)

    def charge(self, one: Asked) -> None:
        """Account for a call that reached the model."""
        tokens_in = ceil(len(one.text.encode()) / _BYTES_PER_TOKEN)
        self.calls[one.kind] += 1
        self.usd += (_PRICE[0] * tokens_in + _PRICE[1] * OUTPUT_TOKENS[one.script]) / 1e6


@frozen
class AgenticScripts:
    """A week of scripts on a simulated clock.

    Attributes:
        seed: The seed of the figures in templates.
        days: How many of the week's workdays are run.
    """

    name: Final[str] = "agentic_scripts"

    seed: int = 0
    days: int = WORKDAYS

    @property
    def given(self) -> Sequence[str]:
        """Its parameters, each in a sentence."""
        return (
            f"{self.days} workdays; deployment check, code review and report run twice a day on "
            f"each of {MACHINES} machines, on a simulated clock.\n"
            "Each run asks four repeated prompts, four templated ones and four rephrased ones; "
            "after the last run of a day three prompts are asked that are close to an earlier one "
            "and must not get its answer.\n"
            "Figures of a template differ by up to 3 % within a day, with a tolerance of "
            f"{TOLERANCE}, and by a fifth from day to day. All prompts were written for this "
            "scenario, before its first run.\n"
            "The original keeps the answer to each text for 24 hours, for each script and machine "
            "by itself; the chain keeps it as long in a store that both machines share.\n"
            "A model in the process answers, and counts tokens as the sandbox does, at the plan's "
            "price of 3 and 15 dollars per million; the policy of `similarity` is the default one."
        ).splitlines()

    async def before(self, folder: Path) -> Seen:
        """Return what was seen of the original wrapper."""
        seen = Seen()
        kept: dict[tuple[str, int, str], float] = {}
        for one in self._week():
            key = (one.script, one.machine, one.text)
            seen.asked[one.kind] += 1
            if kept.get(key, 0.0) <= one.at:
                seen.charge(one)
                kept[key] = one.at + DAY
        return seen

    async def after(self, folder: Path) -> Seen:
        """Return what was seen of the same behind the chain."""
        seen = Seen()
        clock = WarpClock(_MONDAY.timestamp(), _STILL)
        model = _Model(seen)
        began = clock.monotonic()
        for (at, machine), prompts in groupby(self._week(), key=lambda one: (one.at, one.machine)):
            await clock.skip(began + at, lambda: None)
            # A script is a process that ends: what it knows of earlier ones is in the store.
            async with self._script(folder, machine, clock, model) as argo:
                for one in prompts:
                    await self._ask(argo, one, model, seen)
        return seen

    def _script(self, folder: Path, machine: int, clock: WarpClock, model: _Model) -> Argo:
        return service(
            folder / f"machine-{machine}",
            _LAYERS,
            plugins={"scripts": model},
            tables={"similarity": {"ttl": DAY}},
            shared=f"sqlite:///{folder}/shared.db",
            clock=clock,
        )

    async def _ask(self, argo: Argo, one: Asked, model: _Model, seen: Seen) -> None:
        model.asked = one
        seen.asked[one.kind] += 1
        if one.template:
            tolerances = dict.fromkeys(one.slots, TOLERANCE)
            answer = await argo.call(
                "ask_template", template=one.template, slots=one.slots, tolerances=tolerances
            )
        else:
            answer = await argo.call("ask", prompt=one.text)
        if answer != one.meaning:
            seen.wrong.append(f"{one.text!r} got the answer to {answer!r}")

    def _week(self) -> list[Asked]:
        return [one for one in week(self.seed) if one.at < self.days * DAY]

    def findings(self, before: Seen, after: Seen) -> Findings:
        """Return what came of the promises."""
        promises = (
            at_most(
                "calls",
                "calls to the model",
                plan="−40 to −60 % Claude calls",
                bar=0.45,
                before=before.calls.total(),
                after=after.calls.total(),
            ),
            at_most(
                "usd",
                "cost of the model",
                plan="−30 to −50 % cost",
                bar=0.5,
                before=before.usd,
                after=after.usd,
                unit="USD",
            ),
            Promise(
                name="wrong",
                title="prompts that got the answer to another question",
                plan="-",
                unit="",
                before=len(before.wrong),
                after=len(after.wrong),
                ours=len(after.wrong),
                bar=0.0,
            ),
        )
        return Findings(self.name, _TITLE, self.given, promises, tuple(_shown(before, after)))


class _Model:
    """The plugin that plays the model: it answers with the meaning of the prompt."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self.asked: Asked | None = None

    @hookimpl
    def register_operations(self) -> Iterable[AnyOperation]:
        """Return the operations, whose answers live for a day."""

        @operation(kind="llm", ttl=DAY)
        def ask(prompt: str) -> str:
            """An answer to a prompt."""
            raise AssertionError

        @operation(kind="llm", ttl=DAY)
        def ask_template(
            template: str, slots: Mapping[str, float], tolerances: Mapping[str, str]
        ) -> str:
            """An answer to a prompt that is a template with values."""
            raise AssertionError

        return [ask, ask_template]

    @hookimpl
    def register_upstreams(self) -> Iterable[Upstream]:
        """Return the model."""
        return [Upstream("model", ["ask", "ask_template"], self._answer)]

    async def _answer(self, call: Call) -> Outcome:
        assert self.asked is not None
        self._seen.charge(self.asked)
        return Outcome(self.asked.meaning)


def _shown(before: Seen, after: Seen) -> Iterator[Shown]:
    for kind in _KINDS:
        asked = before.asked[kind]
        sides = (f"{seen.calls[kind]} of {asked}" for seen in (before, after))
        yield Shown(f"{kind} prompts", "calls to the model", *sides)
    for text in after.wrong:
        yield Shown("wrong answers", text, "", "")
