"""What kind of question each sentence asks."""

from __future__ import annotations

from argo_mw_similarity.language.text import Token

_WORDS = (
    "be is are was were am do does did has have had can could should would will may might must "
    "shall"
)
_AUXILIARY = frozenset(_WORDS.split())
_KINDS = ("how", "why", "when", "where", "who", "what")


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
    if "request_verb" in words[0].classes:
        return _embedded(words[1:])
    return _by_first_word(words, marked) or (_inside(words) if marked else "")


def _by_first_word(words: list[Token], marked: bool) -> str:
    first, second = words[0], words[1].text if len(words) > 1 else ""
    if first.text == "how":
        return _degree(second, words)
    if first.text == "who" and _identifies(words):
        return "who is"
    for name in ("why", "who", "what"):
        if name in first.classes:
            return name
    if first.classes & {"when", "where"} and (marked or second in _AUXILIARY):
        return first.text
    if first.text in _AUXILIARY and second and not (first.text == "do" and second == "not"):
        return "whether"
    return ""


def _inside(words: list[Token]) -> str:
    """The kind of a question that does not begin with its question word: "you did *what*?"."""
    found = (name for token in words for name in _KINDS if name in token.classes)
    return next(found, "whether")


_DEGREE_WORDS = "much many long far often old tall big large high fast soon"
_DEGREES = frozenset(_DEGREE_WORDS.split())


def _degree(second: str, words: list[Token]) -> str:
    """The kind of a question with "how"; "how much does it cost?" asks what the cost is."""
    if second == "much" and any(t.text in _WORTH for t in words):
        return "what"
    return f"how {second}" if second in _DEGREES else "how"


_WORTH = frozenset({"cost", "costs", "worth"})


def _identifies(words: list[Token]) -> bool:
    """Whether "who" asks what "what" could: "who is *the* head of …?", "what is the head of …?"."""
    being = {"is", "are", "was", "were"}
    if len(words) < 3 or not {words[1].text, words[-1].text} & being:
        return False
    return "the" in {words[1].text, words[2].text} or any(token.text == "'s" for token in words)


def _embedded(words: list[Token]) -> str:
    """The kind of question in a request for its answer: "explain *how* options work"."""
    while words and words[0].text in {"to", "me", "us"}:
        words = words[1:]
    return _ask(words, marked=True) if words and words[0].classes & set(_KINDS) else ""
