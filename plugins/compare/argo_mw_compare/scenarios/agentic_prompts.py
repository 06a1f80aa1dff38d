"""The prompts of a week of scripts: repeated, templated and rephrased ones, and their twins.

They were written for this scenario before it was run for the first time, and are not changed by
what comes out. A twin is close to a question and must not get its answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from attrs import field, frozen

Script = Literal["deployment check", "code review", "report"]

MACHINES = 2
HOUR = 3600.0
DAY = 24 * HOUR
WORKDAYS = 5
ROUNDS = (9 * HOUR, 16 * HOUR)
"""When the scripts of a day run, since midnight."""

OUTPUT_TOKENS: Mapping[Script, int] = {"deployment check": 150, "code review": 600, "report": 900}
"""What an answer of each script has, assumed."""

_DATES = ("25 February", "26 February", "27 February", "28 February", "1 March")
NOISE = 0.03
TOLERANCE = "5%"


@frozen
class Asked:
    """One prompt that a script asks.

    Attributes:
        at: Seconds since the week's first midnight.
        machine: The machine that it runs on.
        script: The script.
        kind: ``repeated``, ``templated``, ``rephrased`` or ``twin``.
        meaning: What it asks; an answer to another meaning is wrong.
        text: The whole prompt.
        template: The prompt with names for its slots; "" where it is not a template.
        slots: The values of the slots.
    """

    at: float
    machine: int
    script: Script
    kind: str
    meaning: str
    text: str
    template: str = ""
    slots: Mapping[str, float] = field(factory=dict)


@frozen
class Question:
    """A question in one wording or several, and its twin.

    Attributes:
        script: The script that asks it.
        wordings: Its wordings, with ``{date}`` and ``{change}``; one for each run of a day.
        twin: A prompt that is close to it and asks something else.
    """

    script: Script
    wordings: Sequence[str]
    twin: str


@frozen
class Template:
    """A prompt that differs in its figures from run to run.

    Attributes:
        script: The script that asks it.
        text: The prompt, with a name in braces for each figure.
        figures: What each figure is about; it differs from day to day, and a little between runs.
    """

    script: Script
    text: str
    figures: Mapping[str, float]


REPEATED: Sequence[Question] = (
    Question(
        "deployment check",
        ["List the steps to roll back the signal service to the release before this one."],
        "List the steps to roll back the order service to the release before this one.",
    ),
    Question(
        "code review",
        ["Which of our rules for database access does a change to signal_tracker.py have to keep?"],
        "Which of our rules for network access does a change to signal_tracker.py have to keep?",
    ),
    Question(
        "report",
        ["Write the introduction of the weekly report on the costs of market data."],
        "Write the introduction of the monthly report on the costs of market data.",
    ),
    Question(
        "report",
        ["Explain in two sentences what a cache hit rate of 75 percent means for our bill."],
        "Explain in two sentences what a cache hit rate of 57 percent means for our bill.",
    ),
)
"""The same words at every run."""

TEMPLATED: Sequence[Template] = (
    Template(
        "deployment check",
        "After the deployment the error rate is {errors} % and the median latency {latency} ms. "
        "Is the signal service healthy?",
        {"errors": 0.4, "latency": 180.0},
    ),
    Template(
        "deployment check",
        "The build took {build} seconds and the tests {tests} seconds. Is either unusual?",
        {"build": 210.0, "tests": 640.0},
    ),
    Template(
        "code review",
        "The branch covers {covered} % of its lines and {branches} % of its branches by tests. "
        "What should be tested next?",
        {"covered": 91.0, "branches": 84.0},
    ),
    Template(
        "report",
        "The services asked vendors {requests} times and paid {usd} dollars for models. "
        "Put that into one sentence for the management.",
        {"requests": 17_000.0, "usd": 42.0},
    ),
)
"""The same words with other figures, which a script gives as slots with a tolerance."""

REPHRASED: Sequence[Question] = (
    Question(
        "deployment check",
        [
            "Which tests have to pass before we deploy the signal service on {date}?",
            "What tests must pass before we deploy the signal service on {date}?",
            "Before we deploy the signal service on {date}, which tests have to pass?",
            (
                "Could you tell me which tests have to pass before we deploy the signal service on "
                "{date}?"
            ),
        ],
        "Which tests may fail before we deploy the signal service on {date}?",
    ),
    Question(
        "code review",
        [
            (
                "What are the risks of keeping prices for ten minutes in the order path, as change "
                "{change} does?"
            ),
            (
                "Explain the risks of keeping prices for ten minutes in the order path, as change "
                "{change} does."
            ),
            (
                "Which risks does change {change} bring, which keeps prices for ten minutes in the "
                "order path?"
            ),
            (
                "Please describe the risks of keeping prices for ten minutes in the order path, as "
                "change {change} does."
            ),
        ],
        "What are the risks of keeping prices for one minute in the order path, as change "
        "{change} does?",
    ),
    Question(
        "code review",
        [
            "Does change {change} close the database connection when the insert fails?",
            "When the insert fails, does change {change} close the database connection?",
            "Is the database connection closed by change {change} when the insert fails?",
            "Tell me whether change {change} closes the database connection when the insert fails.",
        ],
        "Does change {change} close the database connection when the insert succeeds?",
    ),
    Question(
        "report",
        [
            "Summarise the incidents of {date} for the weekly report.",
            "Write a summary of the incidents of {date} for the weekly report.",
            "Please summarise the incidents of {date} for the weekly report.",
            "For the weekly report, give a summary of the incidents of {date}.",
        ],
        "Summarise the deployments of {date} for the weekly report.",
    ),
)
"""The same question in other words: a wording for each run of a day, over both machines."""


def week(seed: int) -> list[Asked]:
    """Return what the scripts ask in a week, in order; *seed* draws the figures of templates."""
    drawn = random.Random(seed)
    asked = [one for day in range(WORKDAYS) for one in _day(day, drawn)]
    return sorted(asked, key=lambda one: one.at)


def _day(day: int, drawn: random.Random) -> Iterator[Asked]:
    for run, (since, machine) in enumerate(_runs()):
        at = day * DAY + since + 600.0 * machine
        for number, question in enumerate(REPEATED):
            yield _question(at, machine, question, f"repeated {number}", 0, day)
        for number, question in enumerate(REPHRASED):
            meaning = f"rephrased {number} of day {day}"
            yield _question(at, machine, question, meaning, run, day)
        for number, template in enumerate(TEMPLATED):
            yield _templated(at, machine, template, number, day, drawn)
    yield from _twins(day, drawn)


def _runs() -> list[tuple[float, int]]:
    return [(since, machine) for since in ROUNDS for machine in range(MACHINES)]


def _twins(day: int, drawn: random.Random) -> Iterator[Asked]:
    """Yield a twin of one question of each kind, after the last run of the day."""
    at = day * DAY + ROUNDS[-1] + HOUR
    for kind, several in (("repeated", REPEATED), ("rephrased", REPHRASED)):
        number = day % len(several)
        question = several[number]
        text = _filled(question.twin, day)
        yield Asked(at, 0, question.script, "twin", f"twin of {kind} {number}, {day}", text)
    number = day % len(TEMPLATED)
    yield _templated(at, 0, TEMPLATED[number], number, day, drawn, factor=1.5)


def _question(
    at: float, machine: int, question: Question, meaning: str, wording: int, day: int
) -> Asked:
    text = _filled(question.wordings[wording], day)
    return Asked(at, machine, question.script, meaning.split(maxsplit=1)[0], meaning, text)


def _templated(
    at: float,
    machine: int,
    template: Template,
    number: int,
    day: int,
    drawn: random.Random,
    *,
    factor: float = 1.0,
) -> Asked:
    of_day = factor * (1.0 + 0.2 * day)
    slots = {
        name: round(value * of_day * (1.0 + drawn.uniform(-NOISE, NOISE) / 2), 2)
        for name, value in template.figures.items()
    }
    meaning = f"templated {number} of day {day}, {factor:g}"
    kind = "templated" if factor == 1.0 else "twin"
    text = template.text.format(**slots)
    return Asked(at, machine, template.script, kind, meaning, text, template.text, slots)


def _filled(text: str, day: int) -> str:
    return text.format(date=_DATES[day], change=4180 + 7 * day)
