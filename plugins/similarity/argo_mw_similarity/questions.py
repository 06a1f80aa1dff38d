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
