"""Scenario: a week of scripts on two machines that ask a model.

The original wrapper keeps the answer to each text for a day, in a file of its own for each script
and machine. Behind the chain, ``cache`` and ``similarity`` keep answers for as long in a store that
both machines share, and serve them to prompts that ask the same: once with the default policy of
``similarity``, once with ``judged``, which asks a small model in doubt.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from argo_mw.plugin import AnyOperation, Argo, Call, Cost, Outcome, Upstream, hookimpl, operation
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
_JUDGE_PRICE: Final = (1.0, 5.0)
"""The same of the small model that judges."""
_SECONDS, _JUDGE_SECONDS = 4.0, 0.5
"""What a call to each takes, assumed: the judge is asked where it is quick beside the model."""
_JUDGE_ERROR: Final = 0.01
"""The share of verdicts in which the judge is wrong, assumed."""
_SYSTEM_TOKENS, _VERDICT_TOKENS = 180, 8
"""Tokens of what the judge is told beside the prompts, and of what it says."""
_BYTES_PER_TOKEN: Final = 4
_KINDS: Final = ("repeated", "templated", "rephrased", "twin")
_TITLE: Final = "Agentic scripts: a week of prompts on two machines"


@define
class Seen:
    """What was seen of one way to ask.

    Attributes:
        asked: Prompts, by kind.
        calls: Calls that reached the model, by kind.
        usd: What they cost, with what the judge cost.
        wrong: The prompts that got the answer to another question.
        verdicts: Questions to the judge.
        judge_usd: What these cost.
        guarded: What was seen with the default policy, beside what was seen with a judge.
    """

    asked: Counter[str] = field(factory=Counter)
    calls: Counter[str] = field(factory=Counter)
    usd: float = 0.0
    wrong: list[str] = field(factory=list)
    verdicts: int = 0
    judge_usd: float = 0.0
    guarded: Seen | None = None

    def charge(self, one: Asked) -> float:
        """Account for a call that reached the model; return what it cost."""
        usd = (_PRICE[0] * _tokens(one.text) + _PRICE[1] * OUTPUT_TOKENS[one.script]) / 1e6
        self.calls[one.kind] += 1
        self.usd += usd
        return usd

    def charge_judge(self, *texts: str) -> float:
        """Account for a question about *texts* to the judge; return what it cost."""
        tokens_in = _SYSTEM_TOKENS + sum(map(_tokens, texts))
        usd = (_JUDGE_PRICE[0] * tokens_in + _JUDGE_PRICE[1] * _VERDICT_TOKENS) / 1e6
        self.verdicts += 1
        self.judge_usd += usd
        self.usd += usd
        return usd


@frozen
class AgenticScripts:
    """A week of scripts on a simulated clock.

    Attributes:
        seed: The seed of the figures in templates, and of the judge's errors.
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
            "price of 3 and 15 dollars per million.\n"
            "The promises are those of the policy `judged` of `similarity`, which asks a small "
            "model where only the wording is in doubt. That one is scripted: it knows what "
            f"prompts mean and is wrong in {_JUDGE_ERROR:.0%} of its verdicts, drawn by the seed; "
            f"its cost, at {_JUDGE_PRICE[0]:g} and {_JUDGE_PRICE[1]:g} dollars per million, is in "
            "the total. How good a real one is this does not show. The parts show the default "
            "policy, `guarded`, beside it."
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
        """Return what was seen of the same behind the chain, with a judge and without one."""
        guarded, judged = folder / "guarded", folder / "judged"
        for own in (guarded, judged):
            own.mkdir(mode=0o700)
        seen = await self._after(judged, "judged")
        seen.guarded = await self._after(guarded, "guarded")
        return seen

    async def _after(self, folder: Path, policy: str) -> Seen:
        seen = Seen()
        clock = WarpClock(_MONDAY.timestamp(), _STILL)
        meanings = {one.text: one.meaning for one in self._week()}
        model = _Model(seen, clock, meanings, random.Random(self.seed))
        began = clock.monotonic()
        for (at, machine), prompts in groupby(self._week(), key=lambda one: (one.at, one.machine)):
            await clock.skip(began + at, lambda: None)
            # A script is a process that ends: what it knows of earlier ones is in the store.
            async with self._script(folder, machine, clock, model, policy) as argo:
                for one in prompts:
                    await self._ask(argo, one, model, seen)
        return seen

    def _script(
        self, folder: Path, machine: int, clock: WarpClock, model: _Model, policy: str
    ) -> Argo:
        return service(
            folder / f"machine-{machine}",
            _LAYERS,
            plugins={"scripts": model},
            tables={"similarity": {"ttl": DAY, "policy": policy}},
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
                "calls to the scripts' own model, by the policy `judged`",
                plan="−40 to −60 % Claude calls",
                bar=0.45,
                before=before.calls.total(),
                after=after.calls.total(),
            ),
            at_most(
                "calls_of_all_models",
                "calls to any model: the same, and the questions to the judge",
                plan="−40 to −60 % Claude calls",
                bar=0.6,
                before=before.calls.total(),
                after=after.calls.total() + after.verdicts,
            ),
            at_most(
                "usd",
                "cost of the models, the judge's included",
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
    """The plugin that plays the models: one answers with the meaning of the prompt, one judges."""

    def __init__(
        self, seen: Seen, clock: WarpClock, meanings: Mapping[str, str], drawn: random.Random
    ) -> None:
        self._seen = seen
        self._clock = clock
        self._meanings = meanings
        self._drawn = drawn
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
        """Return the model and the judge."""
        return [
            Upstream("model", ["ask", "ask_template"], self._answer),
            Upstream("small_model", ["same_question"], self._judge),
        ]

    async def _answer(self, call: Call) -> Outcome:
        assert self.asked is not None
        await self._pass(_SECONDS)
        return Outcome(self.asked.meaning, cost=Cost(self._seen.charge(self.asked)))

    async def _judge(self, call: Call) -> Outcome:
        await self._pass(_JUDGE_SECONDS)
        known, asked = (str(call.parameters[name]) for name in ("known", "asked"))
        cost = Cost(self._seen.charge_judge(known, asked))
        same = self._meanings.get(known, known) == self._meanings.get(asked, asked)
        wrong = self._drawn.random() < _JUDGE_ERROR
        return Outcome({"same": same != wrong}, cost=cost)

    async def _pass(self, seconds: float) -> None:
        await self._clock.skip(self._clock.monotonic() + seconds, lambda: None)


def _tokens(text: str) -> int:
    return ceil(len(text.encode()) / _BYTES_PER_TOKEN)


def _shown(before: Seen, after: Seen) -> Iterator[Shown]:
    for kind in _KINDS:
        asked = before.asked[kind]
        sides = (f"{seen.calls[kind]} of {asked}" for seen in (before, after))
        yield Shown(f"{kind} prompts", "calls to the model", *sides)
    yield Shown("the judge", "questions", "-", str(after.verdicts))
    yield Shown("the judge", "cost", "-", f"{after.judge_usd:.4f} USD")
    for text in after.wrong:
        yield Shown("wrong answers", text, "", "")
    guarded = after.guarded
    if guarded is None:
        return
    calls, usd = before.calls.total(), before.usd
    by_default = f"{guarded.calls.total()} ({guarded.calls.total() / calls:.2f})"
    yield Shown("the default policy", "calls to the model", str(calls), by_default)
    for kind in _KINDS:
        sides = (f"{seen.calls[kind]} of {before.asked[kind]}" for seen in (before, guarded))
        yield Shown("the default policy", f"calls for {kind} prompts", *sides)
    by_default = f"{guarded.usd:.3f} USD ({guarded.usd / usd:.2f})"
    yield Shown("the default policy", "cost of the model", f"{usd:.3f} USD", by_default)
    wrong = (str(len(seen.wrong)) for seen in (before, guarded))
    yield Shown("the default policy", "wrong answers", *wrong)
