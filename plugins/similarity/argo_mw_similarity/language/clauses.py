"""Who does what to whom: the part that each word plays, and which word gives it that part.

A shallow analysis of a clause at a time. Voice, the place of a question word and the order of two
objects make no difference to it: "Who owes China money?", "By whom is money owed to China?" and
"To whom …" give *owe* the same agent, patient and recipient wherever these stand.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

from argo_mw_similarity.language.grammar import CLAUSE_END, MODALS, is_content
from argo_mw_similarity.language.text import Token

AGENT, PATIENT, PART, OWNER, IS = "agent", "patient", "part", "of", "is"


@frozen
class Role:
    """The part that a word plays.

    Attributes:
        relation: ``agent``, ``patient``, ``part`` (it qualifies a noun), ``of``, ``is`` (subject
            or predicate), a preposition, for a verb the word that subordinates it, or "".
        governor: The index of the token that gives it this part, or -1.
    """

    relation: str
    governor: int = -1


@define
class _Phrase:
    """A noun phrase, or what may stand for one."""

    head: int
    marker: str = ""
    marker_at: int = -1
    used: bool = False


@define
class _Verb:
    """A verb with what its clause says of it."""

    at: int
    passive: bool
    subordinator: str = ""
    begins: int = -1


_BE_WORDS = "be is are was were am been being get gets got"
_BE = frozenset(_BE_WORDS.split())
_DO = frozenset({"do", "does", "did", "to", "will", "would"})
_HAVE = frozenset({"have", "has", "had", "having"})
_PRONOUN_WORDS = (
    "i you we he she it they me us him her them one who whom what which someone somebody anyone "
    "myself yourself himself herself itself themselves ourselves oneself people everyone nobody"
)
_PRONOUNS = frozenset(_PRONOUN_WORDS.split())
ASKING = frozenset({"who", "whom", "what", "which"})
_PREPOSITIONS = frozenset({"preposition", "than", "before", "after", "above", "below", "against"})
_SUBORDINATING = ("condition", "unless", "cause", "concession", "when", "before", "after")
_DETERMINERS = frozenset({"article", "demonstrative", "all", "some", "many", "most", "negation"})


def roles_of(tokens: tuple[Token, ...], parts: Sequence[str]) -> dict[int, Role]:
    """Index of a token → the part it plays, for content words and pronouns."""
    roles: dict[int, Role] = {}
    start = 0
    for i in range(len(tokens) + 1):
        if i == len(tokens) or (tokens[i].kind == "mark" and tokens[i].text in CLAUSE_END):
            _Sentence(tokens, parts, range(start, i), roles).read()
            start = i + 1
    return roles


class _Sentence:
    """One sentence while it is read."""

    def __init__(
        self, tokens: tuple[Token, ...], parts: Sequence[str], span: range, roles: dict[int, Role]
    ) -> None:
        self._tokens, self._parts, self._span, self._roles = tokens, parts, span, roles
        self._phrases: list[_Phrase] = []
        self._verbs: list[_Verb] = []
        self._stranded: list[tuple[str, int]] = []
        self._bound = self._end_of_first_clause()

    def read(self) -> None:
        """Find phrases and verbs, then give every phrase its part."""
        self._scan()
        if not self._verbs:
            self._main_auxiliary()
        for n, verb in enumerate(self._verbs):
            first = max(self._verbs[n - 1].at if n else self._span.start - 1, verb.begins)
            last = self._span.stop
            if n + 1 < len(self._verbs):
                following = self._verbs[n + 1]
                last = following.begins if following.begins > verb.at else following.at
            self._attach(verb, first, last)
            if self._parts[verb.at] == "v":
                self._roles[verb.at] = Role(verb.subordinator)
        for phrase in self._phrases:
            if not phrase.used:
                self._roles.setdefault(phrase.head, Role(phrase.marker, self._before(phrase)))
        self._coordinate()

    def _end_of_first_clause(self) -> int:
        """The comma behind a subordinate clause in front, if there is one: "*If rates rise,* …"."""
        start = self._span.start
        subordinate = self._span and any(n in self._tokens[start].classes for n in _SUBORDINATING)
        verbs = (i for i in self._span if self._parts[i] == "v")
        first = next(verbs, self._span.stop) if subordinate else self._span.stop
        commas = (i for i in range(first, self._span.stop) if self._tokens[i].text == ",")
        return next(commas, start - 1)

    def _scan(self) -> None:
        marker, marker_at, subordinator, begins = "", -1, "", -1
        chunk: list[int] = []
        for i in self._span:
            token, part = self._tokens[i], self._parts[i]
            if part in {"n", "a"} and is_content(token):
                chunk.append(i)
                if i + 1 < len(self._tokens) and self._joins(i + 1, chunk):
                    continue
                self._close(chunk, marker, marker_at)
                chunk, marker, marker_at = [], "", -1
            elif token.kind in {"number", "date"}:
                marker, marker_at = "", -1
            elif part == "v":
                self._add_verb(i, subordinator, begins)
                marker, subordinator, begins = "", "", -1
            elif token.text in _PRONOUNS and not (chunk or self._qualifies(i)):
                self._phrases.append(_Phrase(i, marker, marker_at))
                marker, marker_at = "", -1
            elif name := next((n for n in _SUBORDINATING if n in token.classes), ""):
                subordinator, begins = name, i
                marker, marker_at = (token.text, i) if token.classes & _PREPOSITIONS else ("", -1)
            elif token.classes & _PREPOSITIONS or (token.text == "of"):
                marker, marker_at = self._preposition(i)
            elif token.text == ",":
                self._strand(marker, marker_at)
                marker, marker_at, subordinator, begins = "", -1, "", -1
        self._strand(marker, marker_at)

    def _add_verb(self, i: int, subordinator: str, begins: int) -> None:
        if subordinator in {"before", "after"} and self._phrases:
            self._phrases[-1].marker = ""
        relation = subordinator or "to" * self._is_infinitive(i)
        self._verbs.append(_Verb(i, self._is_passive(i), relation, begins))

    def _preposition(self, i: int) -> tuple[str, int]:
        """The preposition at *i*, if something may follow that it introduces."""
        following = self._tokens[i + 1] if i + 1 < self._span.stop else None
        ends = following is None or following.text == ","
        if ends:
            self._stranded.append((self._tokens[i].text, i))
            return "", -1
        return self._tokens[i].text, i

    def _strand(self, marker: str, at: int) -> None:
        if marker and at >= 0:
            self._stranded.append((marker, at))

    def _joins(self, i: int, chunk: list[int]) -> bool:
        """Whether the token at *i* belongs to the noun phrase *chunk*."""
        token = self._tokens[i]
        if i >= self._span.stop or token.text == "'s":
            return False
        if self._parts[i] == "a" and self._parts[chunk[-1]] == "n":
            return False
        return self._parts[i] in {"n", "a"} and (is_content(token) or token.kind == "number")

    def _close(self, chunk: list[int], marker: str, marker_at: int) -> None:
        """Make *chunk* a phrase; all its words but the head are parts of the head."""
        head = next((i for i in reversed(chunk) if self._parts[i] == "n"), chunk[-1])
        for i in chunk:
            if i != head:
                self._roles[i] = Role(PART, head)
        owned = self._phrases[-1] if self._phrases else None
        if owned is not None and self._owns(owned.head):
            # "the fund's bond": the owner takes its part from what it owns.
            self._roles[owned.head] = Role(OWNER, head)
            owned.used = True
            marker, marker_at = owned.marker, owned.marker_at
        self._phrases.append(_Phrase(head, marker, marker_at))

    def _owns(self, i: int) -> bool:
        return i + 1 < len(self._tokens) and self._tokens[i + 1].text == "'s"

    def _qualifies(self, i: int) -> bool:
        """Whether a question word or "one" belongs to the noun behind it: "*which* bond"."""
        following = i + 1
        return (
            following < self._span.stop
            and self._parts[following] in {"n", "a"}
            and (self._tokens[i].text in {"what", "which", "one", "her"})
        )

    def _is_infinitive(self, i: int) -> bool:
        before = (self._tokens[j] for j in range(i - 1, self._span.start - 1, -1))
        word = next((t for t in before if "r" not in t.parts), None)
        return word is not None and word.text == "to"

    def _is_passive(self, i: int) -> bool:
        """Whether the verb at *i* is a participle that a form of *be* or "by" governs."""
        if self._tokens[i].text.endswith(("ing", "s")):
            return False
        for j in range(i - 1, self._span.start - 1, -1):
            other = self._tokens[j]
            if other.text in _BE:
                return True
            if self._parts[j] == "v" or other.text in _HAVE | _DO or other.classes & MODALS:
                break
        return i + 1 < self._span.stop and self._tokens[i + 1].text == "by"

    def _main_auxiliary(self) -> None:
        """Take *be* or *have* for the verb of a sentence that has no other."""
        for words in (_BE | _HAVE, {"do"}):
            found = [i for i in self._span if self._tokens[i].text in words]
            if found:
                self._verbs.append(_Verb(found[-1], False))
                return

    def _attach(self, verb: _Verb, first: int, last: int) -> None:
        """Give the phrases between *first* and *last* the parts that they play for *verb*."""
        if verb.at > self._bound:
            first = max(first, self._bound)
        else:
            last = min(last, self._bound)
        left = [p for p in self._phrases if first < p.head < verb.at and not p.used]
        right = [p for p in self._phrases if verb.at < p.head < last and not p.used]
        bare = [p for p in left if not p.marker]
        if self._tokens[verb.at].text in _BE:
            self._predicate(verb, left, right)
            return
        subject = bare[-1] if bare else None
        objects = self._objects(verb, right)
        if subject is not None:
            self._give(subject, self._subject_part(verb, objects), verb)
        fronted = [p for p in bare[:-1] if not p.used]
        for phrase in left:
            if phrase.marker and not phrase.used:
                self._oblique(verb, phrase, subject)
        self._gap(verb, fronted, objects, last)

    def _subject_part(self, verb: _Verb, objects: list[_Phrase]) -> str:
        if not verb.passive:
            return AGENT
        return "to" if objects else PATIENT

    def _objects(self, verb: _Verb, right: list[_Phrase]) -> list[_Phrase]:
        """Give the phrases behind *verb* their parts; the objects among them."""
        objects: list[_Phrase] = []
        for phrase in right:
            if phrase.marker == "of":
                self._give(phrase, OWNER, None, self._before(phrase))
            elif phrase.marker:
                self._oblique(verb, phrase, None)
            elif not objects or len(objects) < 2:
                objects.append(phrase)
        if len(objects) == 2 and self._adjacent(*objects):
            self._give(objects[0], "to", verb)
            self._give(objects[1], PATIENT, verb)
            return objects[1:]
        if objects:
            self._give(objects[0], PATIENT, verb)
        return objects[:1]

    def _adjacent(self, one: _Phrase, other: _Phrase) -> bool:
        """Whether nothing but what belongs to *other* parts it from *one*."""
        between = range(one.head + 1, other.head)
        return not any(self._tokens[i].text == "that" for i in between) and all(
            self._parts[i]
            or self._tokens[i].classes & _DETERMINERS
            or self._tokens[i].text in {"my", "your", "our", "his", "her", "its", "their", "much"}
            for i in between
        )

    def _oblique(self, verb: _Verb, phrase: _Phrase, subject: _Phrase | None) -> None:
        inside = subject is not None and phrase.head > subject.head
        if phrase.marker == "of" or (inside and phrase.marker != "by"):
            relation = OWNER if phrase.marker == "of" else phrase.marker
            self._give(phrase, relation, None, self._before(phrase))
        elif phrase.marker == "by" and verb.passive:
            self._give(phrase, AGENT, verb)
        else:
            self._give(phrase, phrase.marker, verb)

    def _gap(self, verb: _Verb, fronted: list[_Phrase], objects: list[_Phrase], last: int) -> None:
        """Give what stands in front the part that *verb* lacks: "*what* does it cost?"."""
        asked = fronted[0] if fronted else None
        if asked is None:
            return
        stranded = next((m for m, at in self._stranded if verb.at < at < last), "")
        if stranded:
            agent = stranded == "by" and verb.passive
            self._give(asked, AGENT if agent else stranded, verb)
        elif not objects:
            self._give(asked, PATIENT, verb)

    def _predicate(self, verb: _Verb, left: list[_Phrase], right: list[_Phrase]) -> None:
        for phrase in (*left, *right):
            if phrase.marker == "of":
                self._give(phrase, OWNER, None, self._before(phrase))
            elif phrase.marker and not (phrase in left and phrase.head == left[0].head):
                self._give(phrase, phrase.marker, None, self._before(phrase))
            else:
                self._give(phrase, phrase.marker or IS, verb)

    def _give(self, phrase: _Phrase, relation: str, verb: _Verb | None, governor: int = -1) -> None:
        at = verb.at if verb is not None else governor
        self._roles[phrase.head] = Role(relation, at)
        phrase.used = True

    def _before(self, phrase: _Phrase) -> int:
        """The head of the phrase before *phrase*, or -1."""
        heads = [p.head for p in self._phrases if p.head < phrase.head]
        return heads[-1] if heads and phrase.marker else -1

    def _coordinate(self) -> None:
        """Give the members of a coordination ("A, B or C") the part of the first."""
        for one, other in zip(self._phrases, self._phrases[1:], strict=False):
            between = [self._tokens[i] for i in range(one.head + 1, other.head)]
            words = [t for t in between if not t.parts or not is_content(t)]
            joined = any(t.text in {"and", "or", "nor", ","} or "both" in t.classes for t in words)
            plain = all(
                t.text in {"and", "or", "nor", ","}
                or t.classes & (_DETERMINERS | {"both", "either"})
                for t in words
            )
            asking = self._tokens[other.head].text in ASKING
            if joined and plain and not (other.marker or asking):
                self._roles[other.head] = self._roles.get(one.head, Role(""))
