"""Tense: what is past, and what has been."""

from __future__ import annotations

from argo_mw_similarity.language.grammar import CLAUSE_END, PAST_ONLY
from argo_mw_similarity.language.text import Token


def is_finite_past(tokens: tuple[Token, ...], parts: list[str], i: int) -> bool:
    """Whether the token at *i* is a verb in the simple past: "rates *rose*"."""
    token = tokens[i]
    if parts[i] != "v" or token.text == token.parts["v"] or token.text.endswith(("ing", "s")):
        return False
    if i == 0 or _passive(tokens, i):
        return False
    if any(t.text in {"have", "has", "having", "had"} for t in tokens[max(0, i - 4) : i]):
        return False
    if tokens[i - 1].classes & {"generic_person", "third_person", "they", "who"}:
        return True
    if parts[i - 1] != "n":
        return False
    if token.text.endswith(PAST_ONLY):
        return True
    ends = i + 1 == len(tokens) or tokens[i + 1].kind == "mark"
    return not (ends or _reduced(tokens, i)) or _only_verb(tokens, parts, i)


_WORDS = "by in from with to for on as about at when of"
_PREPOSITIONS = frozenset(_WORDS.split())


def _only_verb(tokens: tuple[Token, ...], parts: list[str], i: int) -> bool:
    """Whether the sentence of the token at *i* has no other verb, so that it must be finite."""
    ends = [j for j, t in enumerate(tokens) if t.kind == "mark" and t.text in CLAUSE_END]
    first = max((j + 1 for j in ends if j < i), default=0)
    last = min((j for j in ends if j > i), default=len(tokens))
    others = [j for j in range(first, last) if j != i]
    return not any(
        parts[j] == "v"
        or tokens[j].classes & _FINITE
        or (j < i and "v" in tokens[j].parts and tokens[j].text.endswith("s"))
        for j in others
    )


_FINITE = frozenset(
    {"auxiliary", "past", "ability", "advice", "necessity", "chance", "hypothesis", "future"}
)


def is_perfect(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the token at *i* makes a present perfect: "*has* been", "why *have* they left?".

    What has been done is done: the passive says nothing else than the present.
    """
    if tokens[i].text not in {"have", "has"} or (i and tokens[i - 1].text == "you"):
        return False
    if tokens[i].initial or (i and tokens[i - 1].classes & {"how", "why", "when", "where"}):
        return True
    rest = [t for t in tokens[i + 1 : i + 4] if t.text not in {"not", "ever"} and t.kind == "word"]
    following = rest[0] if rest else None
    if following is not None and "r" in following.parts and len(rest) > 1:
        following = rest[1]
    if following is None or following.text != "been":
        return following is not None and _is_participle(following)
    return not any(_is_participle(t) for t in rest[1:2])


def _is_participle(token: Token) -> bool:
    base = token.parts.get("v", token.text)
    return token.text != base and not token.text.endswith(("ing", "s"))


def _passive(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether a form of *be* governs the participle at *i*."""
    for j in range(i - 1, max(-1, i - 6), -1):
        token = tokens[j]
        if token.kind == "mark":
            return False
        if token.text in {
            "be",
            "is",
            "are",
            "was",
            "were",
            "am",
            "been",
            "being",
            "get",
            "got",
            "gets",
        }:
            return True
    return False


def _reduced(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the participle at *i* begins a reduced clause: "files *loaded by* the script"."""
    following = tokens[i + 1] if i + 1 < len(tokens) else None
    return following is not None and following.text in _PREPOSITIONS
