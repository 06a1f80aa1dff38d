"""Grammar: which words are content, and which part of speech their neighbours suggest."""

from __future__ import annotations

from argo_mw_similarity.text import Token

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
"""Classes whose words are no content."""

_FACTUAL = (
    "third_person he she they negation either both except unless first_person second_person "
    "other_persons only even too enough again almost still alone other same all some many "
    "most little half twice thrice least greatest more less than before after above below "
    "against between first last former next now ability advice necessity chance hypothesis "
    "future past habit_past how why when where who what condition cause concession relative"
)
FACTUAL = frozenset(_FACTUAL.split())
"""Classes whose words are compared as facts, not as content."""

PHASES = frozenset({"phase_begin", "phase_end", "phase_stay"})
"""Classes whose words are both content and fact."""

MODALS = frozenset({"ability", "advice", "necessity"})
"""Classes whose words say nothing of their own after "how": "how *can*", "how *should* one"."""

OPERATORS = frozenset("+*/=<>^|~-\\%")

CLAUSE_END = frozenset(".?!;:")


def is_content(token: Token) -> bool:
    """Whether *token* says something of its own."""
    if token.kind in {"name", "code"}:
        return True
    return (
        token.kind == "word"
        and not token.classes & (DROPPED | FACTUAL)
        and token.text.strip("'") != ""
    )


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
    if classes & {"article", "demonstrative", "preposition", "all", "some"} or token.text in {
        "'s",
        "my",
        "your",
        "our",
    }:
        return "nominal"
    return ""


def _part(token: Token, before: str, after: Token | None) -> str:
    can = token.parts
    if len(can) < 2:
        return next(iter(can), "n")
    qualifies = after is not None and ("n" in after.parts or after.kind == "name")
    return _as_verb(token, before, after, qualifies) or _as_noun(token, before, qualifies)


def _as_verb(token: Token, before: str, after: Token | None, qualifies: bool) -> str:
    """``v`` where form or neighbours make it a verb, ``a`` for a participle before a noun."""
    if "v" not in token.parts:
        return ""
    base = token.parts["v"]
    if token.text != base and not token.text.endswith("s"):
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
