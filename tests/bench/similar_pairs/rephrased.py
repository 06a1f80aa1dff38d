"""Rephrasings: a prompt and what somebody else would have typed for it, by kind.

The ways in which a prompt is changed are written down here without looking at what the plugin
does about them; abbreviations are those of trading desks and software.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from attrs import frozen


@frozen
class Rephrasing:
    """A prompt, the same said another way, and the kind of change."""

    a: str
    b: str
    kind: str


QUESTIONS = [
    "What is the open interest of Tesla options?",
    "How do rising interest rates affect bond prices?",
    "Why did the yield curve invert in 2022?",
    "When does the earnings season begin?",
    "Who is the largest holder of Japanese government debt?",
    "How does a trailing stop order work?",
    "What is the implied volatility of Nvidia?",
    "How is the settlement price of a future calculated?",
    "Which companies pay the highest dividends?",
    "What are the risks of leverage?",
    "How can I reduce the slippage of a market order?",
    "What does a negative funding rate mean?",
    "How do I connect to a database from Python?",
    "Why does my function return nothing?",
    "What is the difference between a thread and a process?",
    "How do I delete a branch of a repository?",
    "What happens to options after a stock split?",
    "Where is the configuration of the server stored?",
    "How long does a wire transfer take?",
    "Does a higher volume confirm a breakout?",
    "Are dividends taxed twice?",
    "Is Apple more profitable than Microsoft?",
    "Should a portfolio hold gold during a recession?",
    "Can a covered call lose money?",
    "What was the average price of oil in 2023?",
    "How many employees does Amazon have?",
    "What causes a short squeeze?",
    "Who founded the Federal Reserve?",
    "How often does the index rebalance?",
    "What is the purpose of a clearing house?",
]
REQUESTS = [
    "Explain how a limit order differs from a market order.",
    "Summarize the quarterly report of Intel.",
    "List the main drivers of the gold price.",
    "Describe the strategy behind an iron condor.",
    "Compare the margins of Visa and Mastercard.",
    "Give an example of a butterfly spread.",
    "Explain why the dollar strengthened in 2022.",
    "Analyze the momentum of semiconductor stocks.",
]

_POLITE = [
    "Could you tell me {q}?", "Can you please tell me {q}?", "Please tell me {q}.",
    "I would like to know {q}.", "I'd like to understand {q}.", "Do you know {q}?",
    "Hi! Could you explain {q}?", "I was wondering {q}.", "I want to know {q}, please.",
    "Would you be so kind as to tell me {q}?", "Hello, can you tell me {q}? Thanks!",
]  # fmt: skip
_POLITE_REQUEST = [
    "Could you please {r}?", "Please {r}.", "Can you {r}?", "Would you mind {ing}?",
    "I would like you to {r}.", "Hi, could you {r}? Thank you!", "Hey there, please {r}, thanks.",
]  # fmt: skip
_AUXILIARIES = {"do", "does", "did", "is", "are", "was", "were", "should", "can"}
_ABBREVIATED = [
    ("open interest", "OI"), ("implied volatility", "IV"), ("market capitalization", "mkt cap"),
    ("earnings per share", "EPS"), ("relative strength index", "RSI"), ("database", "DB"),
    ("exponential moving average", "EMA"), ("gross domestic product", "GDP"),
    ("return on equity", "ROE"), ("consumer price index", "CPI"), ("repository", "repo"),
    ("configuration", "config"), ("year over year", "YoY"), ("price-to-earnings ratio", "P/E ratio"),
    ("volume-weighted average price", "VWAP"), ("profit and loss", "P&L"), ("versus", "vs"),
    ("exchange-traded fund", "ETF"), ("assets under management", "AUM"), ("at-the-money", "ATM"),
    ("initial public offering", "IPO"), ("application programming interface", "API"),
    ("days to expiration", "DTE"), ("average true range", "ATR"), ("command line interface", "CLI"),
    ("compound annual growth rate", "CAGR"), ("net asset value", "NAV"), ("with", "w/"),
]  # fmt: skip
_FRAMES = [
    "How is the {x} of a stock computed?", "What does a falling {x} mean?",
    "Explain how the {x} is used.", "Why does the {x} matter?", "What is the {x} of Tesla?",
]  # fmt: skip
_CONTRACTED = [
    ("What is", "What's"), ("Who is", "Who's"), ("Where is", "Where's"), ("How is", "How's"),
    ("do not", "don't"), ("does not", "doesn't"), ("did not", "didn't"), ("is not", "isn't"),
    ("can not", "can't"), ("cannot", "can't"), ("should not", "shouldn't"), ("will not", "won't"),
    ("What is", "Whats"), ("does not", "doesnt"), ("I am", "I'm"), ("it is", "it's"),
]  # fmt: skip
_CONTRACTIBLE = [
    "Why does not my order fill?", "Why is the spread so wide when it is quiet?", "Who is the chair of the SEC?",
    "Where is the stop when I am short?", "Why did not gold rise in 2015?", "How is a swap priced?",
    "What should I do if a broker does not answer?", "Which funds do not charge a fee?",
    "What is a margin call if I am hedged?", "Why is not the index tradable?", "What is gamma?",
    "Why should not I trade earnings?", "Why will not the script start?", "What is a dark pool?",
    "Why cannot the server connect?", "Which orders can not be cancelled?",
]  # fmt: skip
_REORDERED = [
    ("What is the price of oil?", "What is the oil price?"),
    ("What did Apple earn in 2023?", "In 2023, what did Apple earn?"),
    ("What happens to bonds if rates rise?", "If rates rise, what happens to bonds?"),
    ("What is the revenue of Intel?", "What is Intel's revenue?"),
    ("Who founded Nvidia?", "By whom was Nvidia founded?"),
    ("Who audits Boeing?", "Who is Boeing audited by?"),
    ("Does Microsoft own LinkedIn?", "Is LinkedIn owned by Microsoft?"),
    ("Why do stocks fall when yields rise?", "When yields rise, why do stocks fall?"),
    ("How do I move data from MySQL to Postgres?", "How do I move data to Postgres from MySQL?"),
    ("Compare gold and silver.", "Compare silver and gold."),
    ("Explain the volatility of options.", "Explain option volatility."),
    ("Who owes money to China?", "Who owes China money?"),
    ("What is the correlation between gold and silver?", "What is the correlation between silver and gold?"),
    ("Is gold or silver the better hedge?", "Is silver or gold the better hedge?"),
    ("During a recession, which sectors outperform?", "Which sectors outperform during a recession?"),
    ("Before a split, what should holders do?", "What should holders do before a split?"),
    ("What does the manager of a fund do?", "What does a fund manager do?"),
    ("How large is the economy of Japan?", "How large is Japan's economy?"),
    ("Which bank did JPMorgan buy in 2023?", "In 2023, which bank did JPMorgan buy?"),
    ("To whom does Intel sell chips?", "Who does Intel sell chips to?"),
]  # fmt: skip
_FIELDS = ["RSI", "MACD", "ATR", "Price", "Volume", "Spread", "Beta", "Position"]
_LEADS = [
    "Should I buy {name} given these readings?", "Rate the momentum of {name}.",
    "Is {name} overbought?", "Give a signal for {name}.",
]  # fmt: skip
_FORMS = [
    ("What is the number of {n} of {x}?", "How many {n} does {x} have?"),
    ("What is the name of the {role} of {x}?", "Who is the {role} of {x}?"),
    ("On what date did {x} go public?", "When did {x} go public?"),
    ("In which year was {x} founded?", "When was {x} founded?"),
    ("What is the reason that {x} shares fell?", "Why did {x} shares fall?"),
    ("Which person founded {x}?", "Who founded {x}?"),
    ("How do I short {x}?", "How can I short {x}?"),
    ("What is the best way to short {x}?", "How to short {x}?"),
    ("What is the age of {x}?", "How old is {x}?"),
    ("How come {x} shares fell in 2022?", "Why did {x} shares fall in 2022?"),
    ("At what time does {x} report earnings?", "When does {x} report earnings?"),
    ("How is it possible to value {x}?", "How can one value {x}?"),
]
_NAMES = ["Tesla", "Boeing", "Nvidia", "Siemens", "Citigroup", "Oracle"]


def rephrasings(seed: int = 24) -> list[Rephrasing]:
    """Return rephrasings of every kind; the same each time."""
    rng = random.Random(seed)
    kinds: dict[str, Callable[[random.Random], Iterator[tuple[str, str]]]] = {
        "politeness": _politeness, "typo": _typos, "abbreviation": _abbreviations,
        "contraction": _contractions, "word order": _word_order, "layout": _layouts,
        "question form": _question_forms,
    }  # fmt: skip
    return [Rephrasing(a, b, kind) for kind, make in kinds.items() for a, b in make(rng)]


def _politeness(rng: random.Random) -> Iterator[tuple[str, str]]:
    for question in QUESTIONS:
        embedded = _embedded(question)
        for frame in rng.sample(_POLITE, 2) if embedded else ():
            yield question, frame.format(q=embedded)
        yield question, question.replace("?", ", please?")
    for request in REQUESTS:
        bare = request[0].lower() + request[1:].rstrip(".")
        verb, _, rest = bare.partition(" ")
        ing = f"{verb.removesuffix('e')}ing {rest}"
        for frame in rng.sample(_POLITE_REQUEST, 3):
            yield request, frame.format(r=bare, ing=ing)


def _embedded(question: str) -> str:
    """Return *question* as a clause: "how rates affect bonds", or "" where that is hard."""
    words = question.rstrip("?").split()
    at = next((i for i, word in enumerate(words) if word.lower() in _AUXILIARIES), -1)
    if at < 0:
        return " ".join([words[0].lower(), *words[1:]])
    if at == 0 or words[at] in {"does", "did"}:
        return ""
    if words[at] == "do":
        return " ".join([words[0].lower(), *words[1:at], *words[at + 1 :]])
    if words[at] not in {"is", "are", "was"}:
        return ""
    last = [words[-1]] if words[-1] in {"calculated", "stored"} else []
    rest = words[at + 1 : len(words) - len(last)]
    return " ".join([words[0].lower(), *words[1:at], *rest, words[at], *last])


def _typos(rng: random.Random) -> Iterator[tuple[str, str]]:
    for prompt in (*QUESTIONS, *REQUESTS):
        for _ in range(2):
            words = prompt.split()
            long = [i for i, w in enumerate(words) if i and w.rstrip("?.").isalpha() and w.islower()
                    and len(w.rstrip("?.")) >= 5]  # fmt: skip
            if long:
                at = rng.choice(long)
                words[at] = _slip(words[at], rng)
                yield prompt, " ".join(words)


def _slip(word: str, rng: random.Random) -> str:
    """Return *word* with one slip of the fingers, after its first letter."""
    core = word.rstrip("?.")
    at = rng.randrange(1, len(core) - 1)
    slip = rng.choice(["swap", "drop", "double"])
    if slip == "swap" and core[at] != core[at + 1]:
        core = core[:at] + core[at + 1] + core[at] + core[at + 2 :]
    elif slip == "drop":
        core = core[:at] + core[at + 1 :]
    else:
        core = core[:at] + core[at] + core[at:]
    return core + word[len(word.rstrip("?.")) :]


def _abbreviations(rng: random.Random) -> Iterator[tuple[str, str]]:
    for word, short in _ABBREVIATED:
        if word == "with":
            yield "How do I trade with leverage?", f"How do I trade {short} leverage?"
        elif word == "versus":
            yield "Is gold versus oil a hedge?", f"Is gold {short} oil a hedge?"
        else:
            for frame in rng.sample(_FRAMES, 2):
                yield frame.format(x=word), frame.format(x=short)


def _contractions(rng: random.Random) -> Iterator[tuple[str, str]]:
    for prompt in (*QUESTIONS, *_CONTRACTIBLE):
        for word, short in _CONTRACTED:
            if f"{word} " in prompt:
                yield prompt, prompt.replace(word, short, 1)


def _word_order(rng: random.Random) -> Iterator[tuple[str, str]]:
    yield from _REORDERED


def _layouts(rng: random.Random) -> Iterator[tuple[str, str]]:
    for lead in _LEADS:
        for name in rng.sample(_NAMES, 4):
            fields = {f: round(rng.uniform(1, 90), 1) for f in rng.sample(_FIELDS, 3)}
            forms = [
                "\n".join(f"{k}: {v}" for k, v in fields.items()),
                ", ".join(f"{k}: {v}" for k, v in fields.items()),
                "\n".join(f"- {k}: {v}" for k, v in fields.items()),
                ", ".join(f"{k} = {v}" for k, v in fields.items()),
                "; ".join(f"{k}: {v}" for k, v in fields.items()),
            ]
            one, other = rng.sample(forms, 2)
            asked = lead.format(name=name)
            yield f"{asked}\n{one}", f"{asked} {other}"


def _question_forms(rng: random.Random) -> Iterator[tuple[str, str]]:
    for one, other in _FORMS:
        for name in rng.sample(_NAMES, 4):
            slots = {
                "x": name,
                "n": rng.choice(["employees", "stores", "shareholders", "patents"]),
                "role": rng.choice(["CEO", "chairman", "founder", "CFO"]),
            }
            yield one.format(**slots), other.format(**slots)
