"""Grammar: which words are content, and which part of speech their neighbours suggest."""

from __future__ import annotations

from argo_mw_similarity.language.text import Token

DROPPED = frozenset(
    {
        "article",
        "empty",
        "interjection",
        "emphasis",
        "preposition",
        "auxiliary",
        "demonstrative",
        "generic_person",
        "pleonastic",
    }
)
"""Classes whose words are not content."""

_FACTUAL = (
    "third_person he she they negation either both except unless first_person second_person "
    "other_persons only even too enough again almost still alone other same all some many "
    "most little half twice thrice least greatest more less than before after above below "
    "against between first last former next now ability advice necessity chance hypothesis "
    "several future past habit_past how why when where who what condition cause concession relative"
)
FACTUAL = frozenset(_FACTUAL.split())
"""Classes whose words are compared as facts, not as content."""

PHASES = frozenset({"phase_begin", "phase_end", "phase_stay"})
"""Classes whose words are both content and fact."""

MODALS = frozenset({"ability", "advice", "necessity"})
"""Classes whose words say nothing of their own after "how": "how *can*", "how *should* one"."""

OPERATORS = frozenset("+*/=<>^|~-\\%")

CLAUSE_END = frozenset(".?!;:")


_NO_CONTENT = DROPPED | FACTUAL


def is_content(token: Token) -> bool:
    """Whether *token* says something of its own."""
    if token.kind == "word":
        return token.classes.isdisjoint(_NO_CONTENT) and token.text.strip("'") != ""
    return token.kind in {"name", "code"}


def parts_of_speech(tokens: tuple[Token, ...]) -> list[str]:
    """A guess of each token's part of speech from what it may be and what precedes it."""
    result: list[str] = []
    before = ""
    awaits_verb = False
    for i, token in enumerate(tokens):
        if token.kind in {"name", "code", "number", "date"}:
            part = "n"
        elif not is_content(token):
            part = ""
        elif _is_verb(tokens, i, before, awaits=awaits_verb):
            part = "v"
        else:
            part = _part(token, before, tokens[i + 1] if i + 1 < len(tokens) else None)
        result.append(part)
        if token.text in _BARE_VERB_FOLLOWS:
            awaits_verb = True
        elif part == "v" or token.kind == "mark":
            awaits_verb = False
        if token.text not in {"not", "also", "really"}:
            before = part or ("nominal" if _inverted(tokens, i) else _slot(token))
    _find_verbs(tokens, result)
    return result


def _is_verb(tokens: tuple[Token, ...], i: int, before: str, *, awaits: bool) -> bool:
    """Whether the place of the token at *i* makes it a verb."""
    if awaits and before == "n" and _heads(tokens, i):
        return True
    unchanged = "unchanged" in tokens[i].classes and before != "nominal"
    return _asked_for(tokens, i) or (unchanged and _is_done(tokens, i))


def _is_done(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether *be* and "by" make a participle of the token at *i*: "by what is it *offset*?"."""
    return any(t.text == "by" for t in tokens) and any(
        "auxiliary" in t.classes and t.text in _BE for t in tokens[:i]
    )


_BE = frozenset({"is", "are", "was", "were", "be", "been", "being"})


def _inverted(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the auxiliary at *i* stands before its subject: "*do* hedge funds trade?"."""
    if not (tokens[i].text in _BARE_VERB_FOLLOWS or tokens[i].classes & _AUXILIARY):
        return False
    return i == 0 or tokens[i].initial or bool(tokens[i - 1].classes & ASKING)


ASKING = frozenset({"how", "why", "when", "where", "who", "what"})


def _asked_for(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the token at *i* is the verb of a question word before it: "who *funds* it?"."""
    token, before = tokens[i], tokens[i - 1].text if i else ""
    if before not in {"who", "what", "which", "that"} or "v" not in token.parts:
        return False
    if before == "who":
        return not token.text.endswith("ing")
    if token.text == token.parts["v"] or token.text.endswith("ing"):
        return False
    following = tokens[i + 1] if i + 1 < len(tokens) else None
    plural = token.text.endswith("s") and "n" in token.parts
    if following is None or not plural:
        return True
    if following.classes & _AUXILIARY or following.text in _BARE_VERB_FOLLOWS:
        return False
    behind = tokens[i + 2] if i + 2 < len(tokens) else None
    governs = behind is not None and (
        is_content(behind) or behind.text == "to" or bool(behind.classes & {"article", "all"})
    )
    return following.parts.get("v") != following.text or ("n" in following.parts and not governs)


_AUXILIARY = frozenset(
    {"auxiliary", "past", "ability", "advice", "necessity", "chance", "future", "hypothesis"}
)


def _find_verbs(tokens: tuple[Token, ...], parts: list[str]) -> None:
    """Find the verb of each clause that would have none: "when rates *rise*"."""
    start = 0
    for end in range(len(tokens) + 1):
        if (
            end < len(tokens)
            and not (tokens[end].kind == "mark" and tokens[end].text in CLAUSE_END | {","})
            and not tokens[end].classes & _SUBORDINATORS
        ):
            continue
        span = range(start, end)
        if not any(_is_finite(tokens, parts, i) for i in span):
            verb = next((i for i in span if i > start and _agrees(tokens, parts, i)), None)
            if verb is not None:
                parts[verb] = "v"
        start = end + 1


def _is_finite(tokens: tuple[Token, ...], parts: list[str], i: int) -> bool:
    """Whether the token at *i* is the verb of a clause, and no participle: "files *kept* by it"."""
    token, before = tokens[i], parts[i - 1] if i else ""
    if parts[i] != "v":
        return bool(token.classes & _AUXILIARY)
    participle = token.text != token.parts["v"] and not token.text.endswith(("s", *PAST_ONLY))
    following = tokens[i + 1].classes if i + 1 < len(tokens) else frozenset[str]()
    return not (participle and before == "n" and following & {"preposition", "when"})


_PAST = "ose ell ew ank oke ote ook aw ave ove gan ole ore oze ode went ran"
PAST_ONLY = tuple(_PAST.split())
"""How irregular verbs end in the past that have another participle: "rose", "fell", "broke"."""
_SUBORDINATORS = frozenset({"when", "condition", "unless", "cause", "concession"})


def _agrees(tokens: tuple[Token, ...], parts: list[str], i: int) -> bool:
    """Whether the token at *i* may be a verb whose subject is the noun before it."""
    token, before = tokens[i], tokens[i - 1]
    if "v" not in token.parts or token.text.endswith("ing") or parts[i - 1] != "n":
        return False
    plural = before.text.endswith("s") and not before.text.endswith("ss")
    if token.text == token.parts["v"]:
        return plural
    return not (plural and token.text.endswith("s"))


def _heads(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the token at *i*, after a noun and an auxiliary, is the verb that it awaits."""
    if tokens[i].parts.get("v") != tokens[i].text:
        return False
    before = tokens[i - 1]
    if before.kind != "word" or before.text == "not" or before.text.endswith("s"):
        return True
    for token in tokens[i + 1 :]:
        if (not is_content(token) and token.text != "not") or token.kind != "word":
            break
        if token.parts.get("v") == token.text:
            return False
    return True


_AUXILIARIES = "do does did can could should would will may might must shall"
_BARE_VERB_FOLLOWS = frozenset(_AUXILIARIES.split())


def _slot(token: Token) -> str:
    """What a function word makes likely after it."""
    classes = token.classes
    if token.text == "to" or classes & {
        "ability",
        "advice",
        "necessity",
        "chance",
        "future",
        "hypothesis",
    }:
        return "verbal"
    if token.text in {"do", "does", "did"} or (
        classes & {"generic_person"} and not token.text.endswith(("y", "r"))
    ):
        return "verbal"
    if classes & {
        "article",
        "demonstrative",
        "preposition",
        "all",
        "some",
        "how",
        "why",
    } or token.text in {
        "'s",
        "my",
        "your",
        "our",
    }:
        return "nominal"
    return ""


def _part(token: Token, before: str, after: Token | None) -> str:
    can = token.parts
    qualifies = after is not None and ("n" in after.parts or after.kind == "name")
    if len(can) < 2:
        participle = "v" in can and token.text != can["v"] and not token.text.endswith("s")
        return "a" if participle and qualifies and before == "nominal" else next(iter(can), "n")
    return _as_verb(token, before, after, qualifies) or _as_noun(token, before, qualifies)


def _as_verb(token: Token, before: str, after: Token | None, qualifies: bool) -> str:
    """``v`` where form or neighbours make it a verb, ``a`` for a participle before a noun."""
    if "v" not in token.parts:
        return ""
    base = token.parts["v"]
    if token.text != base and not token.text.endswith("s"):
        if before == "nominal" and not qualifies and "n" in token.parts:
            return ""
        return "a" if qualifies and before == "nominal" else "v"
    if before in {"n", "r"} and after is not None:
        opens_object = after.classes & {"article", "demonstrative", "generic_person", "all"}
        if opens_object or after.text == "by":
            return "v"
    return "v" if before == "verbal" and token.text == base else ""


def _as_noun(token: Token, before: str, qualifies: bool) -> str:
    can = token.parts
    adjective = token.text == can.get("a")
    if "n" in can and before in {"nominal", "a"}:
        return "a" if qualifies and adjective else "n"
    if adjective and before != "n" and (qualifies or "n" not in can):
        return "a"
    if can.get("v") == token.text and token.initial and before != "n":
        return "v"
    return "n" if "n" in can else next(iter(can))
