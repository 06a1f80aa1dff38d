"""Who does what to whom: agents and patients of verbs, active or passive."""

from __future__ import annotations

from attrs import frozen

from argo_mw_similarity.grammar import CLAUSE_END, is_content
from argo_mw_similarity.text import Token


@frozen
class Roles:
    """Who does what to whom, for one verb."""

    passive: bool
    agents: frozenset[str]
    patients: frozenset[str]


def roles_of(tokens: tuple[Token, ...], parts: list[str]) -> dict[str, tuple[Roles, ...]]:
    """Verb → who does it to whom, for each time that it occurs."""
    roles: dict[str, list[Roles]] = {}
    for i, token in enumerate(tokens):
        if parts[i] != "v" or not is_content(token):
            continue
        lemma = token.parts["v"]
        follower = tokens[i + 1].text if i + 1 < len(tokens) else ""
        participle = not token.text.endswith(("ing", "s")) and token.text != lemma
        passive = (participle or follower == "by") and (_passive(tokens, i) or _reduced(tokens, i))
        left = _nearest(tokens, parts, range(i - 1, -1, -1), past=passive)
        right = _object(tokens, parts, i)
        if _after_adjective(tokens, i):
            left, right = (
                frozenset(),
                right or _nearest(tokens, parts, range(i - 3, -1, -1), past=False),
            )
        agent = _by(tokens, parts, i) if passive else left
        patient = left if passive else right
        roles.setdefault(lemma, []).append(Roles(passive, agent, patient))
    return {verb: tuple(found) for verb, found in roles.items()}


def _after_adjective(tokens: tuple[Token, ...], i: int) -> bool:
    """Whether the verb at *i* has its object before it: "are eggs safe *to eat*?"."""
    return i > 2 and tokens[i - 1].text == "to" and "a" in tokens[i - 2].parts


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
    return following is not None and following.text in {"by", "in", "from", "with", "to", "for"}


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
    ends = i + 1 == len(tokens) or tokens[i + 1].kind == "mark"
    return not (ends or _reduced(tokens, i)) or _only_verb(tokens, parts, i)


def _only_verb(tokens: tuple[Token, ...], parts: list[str], i: int) -> bool:
    """Whether the sentence of the token at *i* has no other verb, so that it must be finite."""
    ends = [j for j, t in enumerate(tokens) if t.kind == "mark" and t.text in CLAUSE_END]
    first = max((j + 1 for j in ends if j < i), default=0)
    last = min((j for j in ends if j > i), default=len(tokens))
    others = [j for j in range(first, last) if j != i]
    return not any(parts[j] == "v" or tokens[j].classes & _FINITE for j in others)


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


_THIRD = frozenset({"he", "she", "they"})


def _argument(tokens: tuple[Token, ...], parts: list[str], j: int) -> str:
    token = tokens[j]
    if "third_person" in token.classes:
        return next(iter(token.classes & _THIRD), token.text)
    if token.kind in {"name", "code"} or (parts[j] in {"n", "a"} and is_content(token)):
        return token.parts.get(parts[j], token.text)
    return ""


def _nearest(
    tokens: tuple[Token, ...], parts: list[str], span: range, *, past: bool
) -> frozenset[str]:
    found: set[str] = set()
    for j in span:
        token = tokens[j]
        if token.kind == "mark" and token.text in CLAUSE_END | {","}:
            break
        if argument := _argument(tokens, parts, j):
            found.add(argument)
            if not (j and tokens[j - 1].text in {"and", "or"}) and not (
                j and parts[j - 1] in {"n", "a"} and is_content(tokens[j - 1])
            ):
                break
        elif "generic_person" in token.classes and token.text in {"i", "you", "we", "one"}:
            return frozenset()
    return frozenset(found)


def _object(tokens: tuple[Token, ...], parts: list[str], i: int) -> frozenset[str]:
    found: set[str] = set()
    for j in range(i + 1, len(tokens)):
        token = tokens[j]
        if (
            (token.kind == "mark" and token.text != ",")
            or "preposition" in token.classes
            or token.text == "than"
        ):
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
