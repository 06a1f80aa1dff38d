"""What kind of question each sentence asks."""

from __future__ import annotations

from argo_mw_similarity.text import Token

_WORDS = (
    "be is are was were am do does did has have had can could should would will may might must "
    "shall"
)
_AUXILIARY = frozenset(_WORDS.split())


def questions(tokens: tuple[Token, ...]) -> tuple[str, ...]:
    """The kind of question that each sentence asks; statements and commands ask none."""
    kinds: list[str] = []
    sentence: list[Token] = []
    for token in (*tokens, Token(".", "mark")):
        if token.kind == "mark" and token.text in ".?!":
            if kind := _ask(_main_clause(sentence), token.text == "?"):
                kinds.append(kind)
            sentence = []
        else:
            sentence.append(token)
    return tuple(kinds)


def _main_clause(sentence: list[Token]) -> list[Token]:
    """The words of *sentence* without a clause in front: "*When rates rise,* why do …"."""
    words = [t for t in sentence if t.kind != "mark"]
    comma = next((i for i, t in enumerate(sentence) if t.text == ","), 0)
    subordinate = comma > 2 and sentence[0].classes & {"when", "where"}
    if subordinate and sentence[1].text not in _AUXILIARY | {"to"}:
        return [t for t in sentence[comma + 1 :] if t.kind != "mark"]
    return words


def _ask(words: list[Token], marked: bool) -> str:
    while words and words[0].classes & {"interjection", "both", "preposition", "emphasis"}:
        words = words[1:]
    if not words:
        return ""
    first = words[0]
    if "request_verb" in first.classes:
        return _embedded(words[1:])
    second = words[1].text if len(words) > 1 else ""
    if first.text == "how":
        degree = second in {
            "much",
            "many",
            "long",
            "far",
            "often",
            "old",
            "big",
            "high",
            "fast",
            "soon",
        }
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


def _embedded(words: list[Token]) -> str:
    """The kind of question in a request for its answer: "explain *how* options work"."""
    while words and words[0].text in {"to", "me", "us"}:
        words = words[1:]
    kinds = words[0].classes & {"how", "why", "when", "where", "who", "what"} if words else ()
    return _ask(words, marked=True) if kinds else ""
