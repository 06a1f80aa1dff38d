"""What a prompt says, as far as a machine without a model can tell: the facts that vetoes compare."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from attrs import evolve, field, frozen

from argo_mw_similarity.lexicon import Lexicon
from argo_mw_similarity.text import Token, code_blocks, normal, tokenize

DROPPED = frozenset(
    {"article", "empty", "interjection", "emphasis", "preposition", "auxiliary", "demonstrative", "generic_person", "pleonastic"}
)
"""Classes whose words are no content."""

FACTUAL = frozenset(
    "third_person he she they negation either both except unless first_person second_person only even too enough again almost "
    "still alone other same all some many most little half twice thrice least greatest more less "
    "than before after above below against between first last former next now ability advice "
    "necessity chance hypothesis future past habit_past how why when "
    "where who what condition cause concession relative".split()
)
"""Classes whose words are compared as facts, not as content."""

PHASES = frozenset({"phase_begin", "phase_end", "phase_stay"})
"""Classes whose words are both content and fact."""

OPERATORS = frozenset("+*/=<>^|~-\\%")

CLAUSE_END = frozenset(".?!;:")


@frozen
class Item:
    """A content word in its place.

    Attributes:
        token: The word.
        part: Its part of speech, as guessed from its neighbours: ``n``, ``v``, ``a``, ``r``.
        lemma: Its base form in that part of speech.
        marker: The preposition that introduces its phrase, or "".
        at: Its index among the tokens.
        group: A number that members of one coordination ("A, B or C") share, or -1.
        owns: Whether it is followed by a genitive "'s".
    """

    token: Token
    part: str
    lemma: str
    marker: str
    at: int
    group: int = -1
    owns: bool = False


@frozen
class Roles:
    """Who does what to whom, for one verb."""

    passive: bool
    agents: frozenset[str]
    patients: frozenset[str]


@frozen
class Reading:
    """What one prompt says.

    Attributes:
        normal: The text with what never matters removed.
        code: Its code blocks.
        script: The writing system of most of its letters.
        english: Whether most of its words are English.
        items: The content words in order.
        numbers: Numbers with their units.
        symbols: Operators and the like.
        dates: Dates, times of day and fiscal periods.
        facts: Class → how many of its words occur.
        negated: Per negation, the base forms of the word it applies to.
        asks: The kinds of question asked.
        roles: Verb → who does what to whom.
    """

    normal: str
    code: tuple[str, ...]
    script: str
    english: bool
    items: tuple[Item, ...]
    numbers: tuple[tuple[str, str], ...]
    symbols: tuple[str, ...]
    dates: tuple[str, ...]
    facts: Mapping[str, int]
    negated: tuple[frozenset[str], ...]
    asks: tuple[str, ...]
    roles: Mapping[str, tuple[Roles, ...]]
    order: tuple[Token, ...] = field(repr=False)


def read(text: str, lexicon: Lexicon) -> Reading:
    """Read *text* with *lexicon*."""
    tokens = tokenize(text, lexicon)
    parts = _parts(tokens)
    items = _items(tokens, parts)
    facts = _facts(tokens)
    roles = _roles(tokens, parts)
    if any(_finite_past(tokens, parts, i) for i in range(len(tokens))):
        facts["past"] = 1
    return Reading(
        normal=normal(text),
        code=code_blocks(text),
        script=_script(text),
        english=_english(tokens, lexicon),
        items=items,
        numbers=tuple(sorted((t.text, t.unit) for t in tokens if t.kind == "number")),
        symbols=tuple(t.text for t in tokens if t.kind == "mark" and t.text in OPERATORS),
        dates=tuple(sorted(t.text for t in tokens if t.kind == "date")),
        facts=facts,
        negated=_negated(tokens),
        asks=_asks(tokens),
        roles=roles,
        order=tokens,
    )


def _script(text: str) -> str:
    counts: dict[str, int] = {}
    for char in text:
        if char.isalpha():
            name = "LATIN" if char.isascii() else unicodedata.name(char, "?").split()[0]
            counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: counts[name]) if counts else ""


def _english(tokens: tuple[Token, ...], lexicon: Lexicon) -> bool:
    words = [t for t in tokens if t.kind in {"word", "name"} and t.text.isalpha()]
    known = sum(t.kind == "word" or lexicon.known(t.text) for t in words)
    grammatical = sum(bool(t.classes) for t in words)
    return bool(words) and known >= 0.5 * len(words) and (grammatical > 0 or len(words) < 6)


def _content(token: Token) -> bool:
    if token.kind in {"name", "code"}:
        return True
    return token.kind == "word" and not token.classes & (DROPPED | FACTUAL) and token.text.strip("'") != ""


def _parts(tokens: tuple[Token, ...]) -> list[str]:
    """A guess of each token's part of speech from what it may be and what precedes it."""
    result: list[str] = []
    before = ""
    awaits_verb = False
    for i, token in enumerate(tokens):
        if token.kind in {"name", "code", "number", "date"}:
            part = "n"
        elif not _content(token):
            part = ""
        elif awaits_verb and before == "n" and _heads(tokens, i):
            part = "v"
        else:
            part = _part(token, before, tokens[i + 1] if i + 1 < len(tokens) else None)
        result.append(part)
        if token.text in _BARE_VERB_FOLLOWS:
            awaits_verb = True
        elif part == "v" or token.kind == "mark":
            awaits_verb = False
        if token.text not in {"not", "also", "really"}:
            before = part or _slot(token)
    return result


def _heads(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the token at *i*, after a noun and an auxiliary, is the verb that it awaits."""
    if tokens[i].parts.get("v") != tokens[i].text:
        return False
    before = tokens[i - 1]
    if before.kind != "word" or before.text == "not" or before.text.endswith("s"):
        return True
    for token in tokens[i + 1 :]:
        if not _content(token) and token.text != "not" or token.kind != "word":
            break
        if token.parts.get("v") == token.text:
            return False
    return True


_BARE_VERB_FOLLOWS = frozenset("do does did can could should would will may might must shall".split())


def _slot(token: Token) -> str:
    """What a function word makes likely after it."""
    classes = token.classes
    if token.text == "to" or classes & {"ability", "advice", "necessity", "chance", "future", "hypothesis"}:
        return "verbal"
    if token.text in {"do", "does", "did"} or (classes & {"generic_person"} and not token.text.endswith(("y", "r"))):
        return "verbal"
    if classes & {"article", "demonstrative", "preposition", "all", "some"} or token.text in {"'s", "my", "your", "our"}:
        return "nominal"
    return ""


def _part(token: Token, before: str, after: Token | None) -> str:
    can = token.parts
    if len(can) == 1:
        return next(iter(can))
    if not can:
        return "n"
    qualified = after is not None and ("n" in after.parts or after.kind == "name")
    if "v" in can and token.text != can["v"] and not token.text.endswith("s"):
        return "a" if qualified and before == "nominal" else "v"
    if "v" in can and before in {"n", "r"} and after is not None:
        if after.text == "by" or after.classes & {"article", "demonstrative", "generic_person", "all"}:
            return "v"
    if "v" in can and before == "verbal" and token.text == can["v"]:
        return "v"
    if "n" in can and before in {"nominal", "a"}:
        return "a" if qualified and token.text == can.get("a") else "n"
    if "a" in can and token.text == can["a"] and before != "n" and (qualified or "n" not in can):
        return "a"
    if "v" in can and before == "n" and "n" in can and not token.text.endswith("s"):
        return "n"
    if "v" in can and token.initial:
        return "v"
    return "n" if "n" in can else next(iter(can))


def _items(tokens: tuple[Token, ...], parts: list[str]) -> tuple[Item, ...]:
    items: list[Item] = []
    marker = ""
    group, groups, joined = -1, 0, False
    for i, token in enumerate(tokens):
        text = token.text
        if text in {"and", "or", ","} or text == "nor":
            if items and items[-1].at >= i - 3:
                joined = True
            continue
        if _content(token):
            part = parts[i]
            lemma = token.parts.get(part, token.text)
            if joined and items:
                group = items[-1].group if items[-1].group >= 0 else groups
                if items[-1].group < 0:
                    groups += 1
                    items[-1] = _grouped(items[-1], group)
            else:
                group = -1
            owns = i + 1 < len(tokens) and tokens[i + 1].text == "'s"
            items.append(Item(token, part, lemma, marker, i, group if joined else -1, owns))
            joined = False
            if part == "v":
                marker = ""
        elif "preposition" in token.classes or token.classes & {"before", "after", "above", "below", "against", "between"}:
            marker, joined = text, False
        elif token.kind == "mark" and text in CLAUSE_END or token.classes & {"auxiliary", "relative", "condition"}:
            marker, joined = "", False
        elif not token.classes & {"article", "demonstrative", "emphasis", "generic_person"}:
            joined = False
    return tuple(items)


def _grouped(item: Item, group: int) -> Item:
    return evolve(item, group=group)


_BOUNDS = {
    "over": "over_number", "above": "over_number", "more": "over_number", "greater": "over_number",
    "exceeding": "over_number", "under": "under_number", "below": "under_number",
    "less": "under_number", "fewer": "under_number", "atleast": "from_number",
    "minimum": "from_number", "atmost": "to_number", "maximum": "to_number",
}  # fmt: skip


def _facts(tokens: tuple[Token, ...]) -> dict[str, int]:
    facts: dict[str, int] = {}
    for i, token in enumerate(tokens):
        bound = _BOUNDS.get(token.text)
        if bound and any(t.kind == "number" for t in tokens[i + 1 : i + 3]):
            facts[bound] = facts.get(bound, 0) + 1
            continue
        classes = token.classes & FACTUAL
        if token.classes & PHASES and _has_phase(tokens, i):
            classes |= token.classes & PHASES
        for name in classes:
            facts[name] = facts.get(name, 0) + 1
        lemma = token.parts.get("a", "")
        if lemma and lemma != token.text and token.kind == "word":
            if token.text.endswith("er"):
                facts["comparative"] = facts.get("comparative", 0) + 1
            elif token.text.endswith("est"):
                facts["superlative"] = facts.get("superlative", 0) + 1
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if token.text in {"used", "use"} and following is not None and following.text == "to":
            earlier = tokens[i - 1].text if i else ""
            if token.text == "used" and earlier not in {"be", "is", "are", "was", "were", "been", "being", "get"}:
                facts["habit_past"] = facts.get("habit_past", 0) + 1
            elif any(t.text == "did" for t in tokens[max(0, i - 6) : i]):
                facts["habit_past"] = facts.get("habit_past", 0) + 1
    return facts


def _has_phase(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the verb at *i* is about the phase of another: "*stopped* falling"."""
    if tokens[i].text.startswith("becom") or tokens[i].text == "became":
        return True
    following = tokens[i + 1] if i + 1 < len(tokens) else None
    return following is not None and (following.text == "to" or following.text.endswith("ing"))


def _negated(tokens: tuple[Token, ...]) -> tuple[frozenset[str], ...]:
    found = []
    answers = {
        i
        for i, t in enumerate(tokens)
        if t.text == "no" and t.initial and i + 1 < len(tokens) and tokens[i + 1].text == ","
    }
    for i, token in enumerate(tokens):
        if "negation" in token.classes and i not in answers:
            scope = next((t.lemmas for t in tokens[i + 1 :] if _content(t)), frozenset())
            found.append(scope)
    if answers and not found:
        found.append(frozenset())
    return tuple(found)


_AUXILIARY = frozenset("be is are was were am do does did has have had can could should would will may might must shall".split())


def _asks(tokens: tuple[Token, ...]) -> tuple[str, ...]:
    """The kind of question that each sentence asks; statements and commands ask none."""
    kinds: list[str] = []
    sentence: list[Token] = []
    for token in (*tokens, Token(".", "mark")):
        if token.kind == "mark" and token.text in ".?!":
            words = [t for t in sentence if t.kind != "mark"]
            if kind := _ask(words, token.text == "?"):
                kinds.append(kind)
            sentence = []
        else:
            sentence.append(token)
    return tuple(kinds)


def _ask(words: list[Token], marked: bool) -> str:
    while words and words[0].classes & {"interjection", "both", "preposition", "emphasis"}:
        words = words[1:]
    if not words:
        return ""
    first = words[0]
    if "request_verb" in first.classes:
        return ""
    second = words[1].text if len(words) > 1 else ""
    if first.text == "how":
        degree = second in {"much", "many", "long", "far", "often", "old", "big", "high", "fast", "soon"}
        return f"how {second}" if degree else "how"
    for name in ("why", "who", "what"):
        if name in first.classes:
            return name
    if first.classes & {"when", "where"} and (marked or second in _AUXILIARY):
        return first.text
    if first.text in _AUXILIARY and len(words) > 1:
        return "whether"
    if marked:
        inner = [t for t in words if t.classes & {"how", "why", "when", "where", "who", "what"}]
        return inner[0].text if inner else "whether"
    return ""


def _roles(tokens: tuple[Token, ...], parts: list[str]) -> dict[str, tuple[Roles, ...]]:
    roles: dict[str, list[Roles]] = {}
    for i, token in enumerate(tokens):
        if parts[i] != "v" or not _content(token):
            continue
        lemma = token.parts["v"]
        follower = tokens[i + 1].text if i + 1 < len(tokens) else ""
        participle = not token.text.endswith(("ing", "s")) and token.text != lemma
        passive = (participle or follower == "by") and (_passive(tokens, i) or _reduced(tokens, i))
        left = _nearest(tokens, parts, range(i - 1, -1, -1), past=passive)
        right = _object(tokens, parts, i)
        agent = _by(tokens, parts, i) if passive else left
        patient = left if passive else right
        roles.setdefault(lemma, []).append(Roles(passive, agent, patient))
    return {verb: tuple(found) for verb, found in roles.items()}


def _passive(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether a form of *be* governs the participle at *i*."""
    for j in range(i - 1, max(-1, i - 6), -1):
        token = tokens[j]
        if token.kind == "mark":
            return False
        if token.text in {"be", "is", "are", "was", "were", "am", "been", "being", "get", "got", "gets"}:
            return True
    return False


def _reduced(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the participle at *i* begins a reduced clause: "files *loaded by* the script"."""
    following = tokens[i + 1] if i + 1 < len(tokens) else None
    return following is not None and following.text in {"by", "in", "from", "with", "to", "for"}


def _finite_past(tokens: tuple[Token, ...], parts: list[str], i: int) -> bool:
    """Whether the token at *i* is a verb in the simple past: "rates *rose*"."""
    token = tokens[i]
    if parts[i] != "v" or token.text == token.parts["v"] or token.text.endswith(("ing", "s")):
        return False
    if _passive(tokens, i) or _reduced(tokens, i) or i == 0:
        return False
    before = tokens[i - 1]
    if any(t.text in {"have", "has", "having", "had"} for t in tokens[max(0, i - 4) : i]):
        return False
    subject = parts[i - 1] == "n" or before.classes & {"generic_person", "third_person", "they", "who"}
    return bool(subject) and i + 1 < len(tokens) and tokens[i + 1].kind != "mark"


_THIRD = frozenset({"he", "she", "they"})


def _argument(tokens: tuple[Token, ...], parts: list[str], j: int) -> str:
    token = tokens[j]
    if "third_person" in token.classes:
        return next(iter(token.classes & _THIRD), token.text)
    if token.kind in {"name", "code"} or (parts[j] in {"n", "a"} and _content(token)):
        return token.parts.get(parts[j], token.text)
    return ""


def _nearest(tokens: tuple[Token, ...], parts: list[str], span: range, *, past: bool) -> frozenset[str]:
    found: set[str] = set()
    for j in span:
        token = tokens[j]
        if token.kind == "mark" and token.text in CLAUSE_END | {","}:
            break
        if argument := _argument(tokens, parts, j):
            found.add(argument)
            if not (j and tokens[j - 1].text in {"and", "or"}) and not (
                j and parts[j - 1] in {"n", "a"} and _content(tokens[j - 1])
            ):
                break
        elif "generic_person" in token.classes and token.text in {"i", "you", "we", "one"}:
            return frozenset()
    return frozenset(found)


def _object(tokens: tuple[Token, ...], parts: list[str], i: int) -> frozenset[str]:
    found: set[str] = set()
    for j in range(i + 1, len(tokens)):
        token = tokens[j]
        if token.kind == "mark" and token.text != "," or "preposition" in token.classes or token.text == "than":
            break
        if parts[j] == "v" and found:
            break
        if argument := _argument(tokens, parts, j):
            found.add(argument)
        elif found and token.text not in {"and", "or", "'s"} and parts[j] == "":
            break
    return frozenset(found)


def _by(tokens: tuple[Token, ...], parts: list[str], i: int) -> frozenset[str]:
    for j in range(i + 1, min(len(tokens), i + 8)):
        if tokens[j].text == "by":
            return _object(tokens, parts, j)
        if tokens[j].kind == "mark" and tokens[j].text in CLAUSE_END:
            break
    return frozenset()
