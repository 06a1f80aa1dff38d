"""Minimal pairs: two prompts of the same words that ask something different.

Each prompt is rendered from a gold structure (a verb, what plays which part, and what is asked
for), so whether two prompts are the same follows from their structures, not from their wording.
Half of the verbs are kept out: rules are written while looking at the failures of the others.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import combinations

from attrs import frozen


@frozen
class Pair:
    """Two prompts, whether they ask the same, and what kind of difference was made."""

    a: str
    b: str
    same: bool
    kind: str


@frozen
class Verb:
    """A transitive verb: its base, third person, past and participle."""

    base: str
    third: str
    past: str
    participle: str


def _verb(line: str) -> Verb:
    forms = line.split()
    base = forms[0]
    third = forms[1] if len(forms) > 1 else base + "s"
    past = forms[2] if len(forms) > 2 else base + "ed"
    return Verb(base, third, past, forms[3] if len(forms) > 3 else past)


_VERBS = """
own; fund; sue sues sued; regulate regulates regulated; audit; back; hire hires hired; insure insures insured;
finance finances financed; acquire acquires acquired; advise advises advised; rescue rescues rescued;
sponsor; replace replaces replaced; follow; influence influences influenced; control controls controlled;
supervise supervises supervised; underwrite underwrites underwrote underwritten; protect; attack; represent;
support; lead leads led; employ; appoint; defend; investigate investigates investigated; fine fines fined;
threaten; criticize criticizes criticized; teach teaches taught; pay pays paid; outbid outbids outbid;
trust; reward; warn; train; expose exposes exposed; monitor; drive drives drove driven; fear; recommend;
subsidize subsidizes subsidized; license licenses licensed; oversee oversees oversaw overseen; limit;
anticipate anticipates anticipated; contact; manage manages managed; beat beats beat beaten; cheat;
displace displaces displaced; overtake overtakes overtook overtaken; target; punish punishes punished;
help; reject; accuse accuses accused; assist; cover; ignore ignores ignored; praise praises praised;
"""
VERBS = [_verb(line) for line in _VERBS.replace("\n", " ").split(";") if line.strip()]

_EVENTS = """
cause causes caused; reduce reduces reduced; trigger; affect; predict; prevent; distort; weaken; precede precedes preceded;
amplify amplifies amplified; reflect; signal; stabilize stabilizes stabilized; offset offsets offset; worsen; strengthen;
"""
EVENT_VERBS = [_verb(line) for line in _EVENTS.replace("\n", " ").split(";") if line.strip()]

AGENTS = ["Apple", "Intel", "Citigroup", "Nvidia", "Tesla", "Boeing", "Siemens", "Toyota"]
GROUPS = ["banks", "brokers", "hedge funds", "regulators", "insurers", "traders", "startups"]
THINGS = ["inflation", "unemployment", "volatility", "debt", "speculation", "growth", "panic"]
ROLES = ["broker", "trader", "bank", "fund manager", "dealer", "landlord", "lawyer"]
OWNED = ["open interest", "cost basis", "margin requirement", "credit rating", "tax rate", "backup"]
QUALITIES = [
    ("small", "large"), ("young", "old"), ("listed", "private"), ("growing", "shrinking"),
    ("foreign", "domestic"), ("regulated", "unregulated"), ("risky", "safe"),
]  # fmt: skip
OBLIQUE = [
    ("owe", "owes", "owed", "owed", "money", "to"),
    ("lend", "lends", "lent", "lent", "money", "to"),
    ("borrow", "borrows", "borrowed", "borrowed", "shares", "from"),
    ("sell", "sells", "sold", "sold", "bonds", "to"),
    ("buy", "buys", "bought", "bought", "chips", "from"),
    ("ship", "ships", "shipped", "shipped", "goods", "to"),
    ("steal", "steals", "stole", "stolen", "data", "from"),
    ("collect", "collects", "collected", "collected", "fees", "from"),
    ("send", "sends", "sent", "sent", "reports", "to"),
    ("rent", "rents", "rented", "rented", "office space", "from"),
]
DEPENDENT = [
    ("depend", "depends", "on"), ("rely", "relies", "on"), ("work", "works", "for"),
    ("compete", "competes", "against"), ("apologize", "apologizes", "to"), ("report", "reports", "to"),
    ("complain", "complains", "about"), ("suffer", "suffers", "from"), ("profit", "profits", "from"),
]  # fmt: skip
JOURNEYS = [
    "transfer money",
    "move files",
    "switch",
    "migrate",
    "wire funds",
    "fly",
    "convert data",
]
PLACES = [
    ("Fidelity", "Schwab"), ("Oslo", "Bergen"), ("MySQL", "Postgres"), ("Zurich", "Geneva"),
    ("Python", "Rust"), ("a savings account", "a checking account"), ("euros", "dollars"),
]  # fmt: skip


def minimal_pairs(*, kept_out: bool, seed: int = 24) -> list[Pair]:
    """Return pairs of the verbs that were looked at, or of those *kept_out*; the same each time."""
    rng = random.Random(seed)
    verbs = _half(VERBS, kept_out)
    events = _half(EVENT_VERBS, kept_out)
    pairs: list[Pair] = []
    for verb in verbs:
        pairs += _questions(verb, rng.choice(AGENTS), "who")
        pairs += _questions(verb, rng.choice(GROUPS), "who")
        pairs += _polar(verb, *rng.sample(AGENTS, 2))
        pairs += _polar(verb, *rng.sample(GROUPS, 2))
        pairs += _qualified(verb, rng)
        pairs += _objects(verb, rng)
        pairs += _persons(verb, rng)
        pairs += _quantities(verb, rng)
        pairs += _owners(verb, rng)
        pairs += _clauses(verb, rng.choice(verbs), rng)
    for verb in events:
        for thing in rng.sample(THINGS, 3):
            pairs += _questions(verb, thing, "what")
        pairs += _polar(verb, *rng.sample(THINGS, 2))
    for forms in _half(OBLIQUE, kept_out):
        for name in rng.sample(AGENTS, 4):
            pairs += _oblique(forms, name)
    for dependent in _half(DEPENDENT, kept_out):
        for name in rng.sample(AGENTS, 4):
            pairs += _dependent(dependent, name)
    for journey in _half(JOURNEYS, kept_out):
        pairs += [pair for here, there in PLACES for pair in _journeys(journey, here, there)]
    return pairs


def _half(values: Sequence, kept_out: bool) -> list:  # type: ignore[type-arg]
    return list(values[int(kept_out) :: 2])


def _cross(kind: str, *groups: Sequence[str]) -> Iterator[Pair]:
    """Pair the prompts of each group with one another, and with those of the other groups."""
    for group in groups:
        for a, b in combinations(group, 2):
            yield Pair(a, b, True, kind)
    for one, other in combinations(groups, 2):
        for a in one:
            for b in other:
                yield Pair(a, b, False, kind)


def _plural(noun: str) -> bool:
    return noun in GROUPS


def _questions(verb: Verb, known: str, asked: str) -> Iterator[Pair]:
    """Who does it to *known*, and to whom *known* does it."""
    do, be = ("do", "are") if _plural(known) else ("does", "is")
    agent = [
        f"{asked.title()} {verb.third} {known}?",
        f"{asked.title()} {be} {known} {verb.participle} by?",
        f"By {'whom' if asked == 'who' else 'what'} {be} {known} {verb.participle}?",
    ]
    patient = [
        f"{asked.title()} {do} {known} {verb.base}?",
        f"{asked.title()} is {verb.participle} by {known}?",
    ]
    yield from _cross("asked", agent, patient)


def _polar(verb: Verb, one: str, other: str) -> Iterator[Pair]:
    def said(agent: str, patient: str) -> list[str]:
        do, be = ("Do" if _plural(agent) else "Does"), ("Are" if _plural(patient) else "Is")
        return [
            f"{do} {agent} {verb.base} {patient}?",
            f"{be} {patient} {verb.participle} by {agent}?",
        ]

    yield from _cross("agent", said(one, other), said(other, one))


def _qualified(verb: Verb, rng: random.Random) -> Iterator[Pair]:
    one, other = rng.choice(QUALITIES)
    agent, patient = rng.sample(ROLES, 2)
    groups = [
        [f"Does a {x} {agent} {verb.base} a {y} {patient}?",
         f"Is a {y} {patient} {verb.participle} by a {x} {agent}?"]
        for x, y in ((one, other), (other, one))
    ]  # fmt: skip
    yield from _cross("modifier", *groups)


def _objects(verb: Verb, rng: random.Random) -> Iterator[Pair]:
    agent = rng.choice(ROLES)
    forms = [
        [f"When should a {agent} {verb.base} it?"],
        [f"When should a {agent} {verb.base} itself?"],
        [f"When should a {agent} {verb.base} me?"],
        [f"When should a {agent} {verb.base} him?"],
        [f"When should it {verb.base} a {agent}?"],
    ]
    yield from _cross("object", *forms)


def _persons(verb: Verb, rng: random.Random) -> Iterator[Pair]:
    person, patient = rng.sample(ROLES, 2)
    yield from _cross(
        "person",
        [f"How does a {person} {verb.base} a {patient}?"],
        [f"How can I {verb.base} a {patient} with a {person}?"],
        [f"How can I {verb.base} a {patient}?", f"How do I {verb.base} a {patient}?"],
        [f"How can a {patient} {verb.base} me?"],
        [f"How can a {patient} {verb.base} a {person}?"],
    )


def _quantities(verb: Verb, rng: random.Random) -> Iterator[Pair]:
    agent, noun = rng.sample(ROLES, 2)
    yield from _cross(
        "quantity",
        [f"Can a {agent} {verb.base} one {noun}?"],
        [f"Can a {agent} {verb.base} more than one {noun}?"],
        [f"Can a {agent} {verb.base} two {noun}s?"],
        [f"Can a {agent} {verb.base} all {noun}s?"],
        [f"Can a {agent} {verb.base} most {noun}s?"],
        [f"Can more than one {agent} {verb.base} a {noun}?"],
    )


def _owners(verb: Verb, rng: random.Random) -> Iterator[Pair]:
    agent, owner = rng.sample(ROLES, 2)
    owned = rng.choice(OWNED)
    yield from _cross(
        "owner",
        [f"Does a {agent} {verb.base} our {owned}?"],
        [f"Does a {agent} {verb.base} the {owned}?"],
        [f"Does a {agent} {verb.base} its {owned}?"],
        [f"Does our {agent} {verb.base} the {owned}?"],
        [f"Does a {agent} {verb.base} the {owner}'s {owned}?",
         f"Does a {agent} {verb.base} the {owned} of the {owner}?"],
        [f"Does the {owner}'s {agent} {verb.base} the {owned}?"],
    )  # fmt: skip


def _clauses(verb: Verb, other: Verb, rng: random.Random) -> Iterator[Pair]:
    if verb == other:
        return
    one, two, patient = rng.sample(AGENTS, 3)
    for link in ("if", "before", "because"):
        yield from _cross(
            "clause",
            [f"Does {one} {verb.base} {patient} {link} {two} {other.third} it?"],
            [f"Does {two} {other.base} {patient} {link} {one} {verb.third} it?"],
        )


def _oblique(forms: tuple[str, ...], known: str) -> Iterator[Pair]:
    base, third, _, participle, thing, marker = forms
    be = "are" if thing.endswith("s") else "is"
    agent = [
        f"Who {third} {thing} {marker} {known}?",
        f"By whom {be} {thing} {participle} {marker} {known}?",
    ]
    place = [
        f"{marker.title()} whom does {known} {base} {thing}?",
        f"Who does {known} {base} {thing} {marker}?",
    ]
    yield from _cross("oblique", agent, place)


def _dependent(forms: tuple[str, str, str], known: str) -> Iterator[Pair]:
    base, third, marker = forms
    agent = [f"Who {third} {marker} {known}?"]
    place = [f"Who does {known} {base} {marker}?", f"{marker.title()} whom does {known} {base}?"]
    yield from _cross("dependent", agent, place)


def _journeys(journey: str, here: str, there: str) -> Iterator[Pair]:
    groups = [
        [f"How do I {journey} from {x} to {y}?", f"How do I {journey} to {y} from {x}?"]
        for x, y in ((here, there), (there, here))
    ]
    yield from _cross("journey", *groups)
