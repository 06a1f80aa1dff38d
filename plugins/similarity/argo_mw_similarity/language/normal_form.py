"""The normal form of a prompt: one spelling, one layout, and no more courtesy than the question.

What many people write in many ways is written in one before anything is compared or embedded:
"Hi, could you pls tell me what teh P/E of Apple is?" becomes "What the price-to-earnings ratio of
Apple is?". Code, quotations, links, numbers and names stay as they are, and so does all of a
prompt that is about wording itself ("how is … spelt?") or in another language, whose words are a
slip away from English ones that they have nothing to do with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from argo_mw_similarity.language.lexicon import Lexicon

_PROTECTED = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|\"[^\"\n]*\"|\u201c[^\u201c\u201d\n]*\u201d|https?://\S+",
    re.DOTALL,
)
_WORD = re.compile(
    r"(?<![\w&/.@'\-#$])[A-Za-z](?:[A-Za-z0-9&]|[/.'](?=[A-Za-z]))*(?:/(?=\s))?(?!\w|@)"
)
_LETTERS = re.compile(r"(?<![\w'])[^\W\d_]+(?![\w'])")
_BULLET = re.compile(r"^(?:[-*\u2022\u2013] |\d{1,2}[.)] )")
_ASSIGNED = re.compile(r"(?<=[\w%)]) ?= ?(?=[-+$]?\d)")
_SENTENCE = re.compile(r"(?<=[.?!]) +")
_SPACES = re.compile(r"[ \t]+")
_STRAIGHT = str.maketrans("\u2019\u2018", "''")


def normal_form(text: str, lexicon: Lexicon) -> str:
    """Return *text* in its normal form, which is its own normal form."""
    text = text.translate(_STRAIGHT).strip()
    wording = lexicon.classes.get("wording", frozenset())
    if not wording.isdisjoint(word.lower() for word in _WORD.findall(text)):
        return text
    if not _english(text, lexicon):
        return text
    parts, at = [], 0
    for kept in _PROTECTED.finditer(text):
        parts += [_spelt(text[at : kept.start()], lexicon), kept.group()]
        at = kept.end()
    whole = "".join([*parts, _spelt(text[at:], lexicon)])
    if any(sign in whole for sign in ("```", "~~~", "\n    ", "\t")):
        return whole
    sentences = [_direct(sentence, lexicon) for sentence in _SENTENCE.split(_flat(whole))]
    return " ".join(sentence for sentence in sentences if sentence) or whole


def _english(text: str, lexicon: Lexicon) -> bool:
    """Return whether *text* is English: three words in four are, and there is grammar."""
    words = _LETTERS.findall(text)
    strange = [
        w for w in words if not (w.lower() in lexicon.abbreviations or lexicon.known(w.lower()))
    ]
    # With a capital, it may be a name.
    misspelt = sum(w.islower() for w in strange)
    grammar = any(lexicon.classes_of(w.lower()) for w in words)
    return not misspelt or (grammar and len(words) - len(strange) >= 3 * misspelt)


def _spelt(prose: str, lexicon: Lexicon) -> str:
    """Return *prose* with abbreviations expanded and misspelt words corrected."""
    parts, at = [], 0
    for match in _WORD.finditer(prose):
        word = match.group()
        expanded = _expanded(word, prose, match.start(), lexicon.abbreviations)
        if not expanded and lexicon.known(word):
            continue
        start, end = match.span()
        before, at = prose[at:start], end
        if not expanded:
            expanded = _corrected(word, lexicon, initial=_begins(prose, start))
        elif _is_said(expanded, prose, start, end):
            # "relative strength index (RSI)" says one thing twice.
            before, expanded, at = before[:-1].rstrip(), "", end + 1
        elif prose[end : end + 2] == ". " and prose[end + 2 : end + 3].islower():
            at = end + 1
        parts += [before, expanded]
    return "".join([*parts, prose[at:]])


def _is_said(word: str, prose: str, start: int, end: int) -> bool:
    """Return whether *word* stands before the parentheses from *start* to *end*."""
    if prose[start - 1 : start] != "(" or prose[end : end + 1] != ")":
        return False
    said = prose[max(0, start - 2 - len(word)) : start - 1].rstrip()
    return said.lower().endswith(word.lower())


def _expanded(word: str, prose: str, at: int, abbreviations: Mapping[str, str]) -> str:
    """Return what *word*, at *at* in *prose*, abbreviates, or ""."""
    found = abbreviations.get(word, "")
    if not found and not word.islower() and _begins(prose, at):
        found = abbreviations.get(word.lower(), "")
    if not found and word[-1:] == "s" and word[:-1].isupper():
        found = abbreviations.get(word[:-1], "")
        return found and found + "s"
    return found


def _begins(prose: str, at: int) -> bool:
    """Return whether a sentence begins at *at* in *prose*."""
    while at and prose[at - 1] in " \t":
        at -= 1
    return at == 0 or prose[at - 1] in ".?!:\n"


def _corrected(word: str, lexicon: Lexicon, *, initial: bool) -> str:
    """Return *word* as it was meant, if that is a word of grammar: another may be a name.

    What a misspelt name or noun was meant to be is only known beside a prompt that has it.
    """
    if not word.isalpha() or not (word.islower() or (initial and word[1:].islower())):
        return word
    found = lexicon.correction(word.lower())
    if not found or not lexicon.classes_of(found):
        return word
    return found if word.islower() else found.capitalize()


def _direct(sentence: str, lexicon: Lexicon) -> str:
    """Return *sentence* without greetings, thanks and the courtesies around what is asked."""
    body, mark = _without_thanks(sentence)
    requests = lexicon.classes.get("request_verb", frozenset())
    asks_for_action = False
    for _ in range(4):
        if greeting := _GREETING.match(body):
            body = body[greeting.end() :]
        elif asking := _INDIRECT.match(body):
            body, mark = body[asking.end() :], "?"
        elif (asking := _COURTESY.match(body)) and asking["verb"].lower() in requests:
            body, asks_for_action = body[asking.start("verb") :], True
        elif (asking := _MIND.match(body)) and (verb := _base(asking["verb"], lexicon)):
            body, asks_for_action = f"{verb}{body[asking.end('verb') :]}", True
        else:
            break
    if asks_for_action:
        mark = mark.replace("?", ".")
        body = body.removesuffix(" for me").removesuffix(" for us")
    if noun := _NAME_IT.match(body):
        body, mark = f"what is {body[noun.end() :]}", "?"
    body = _KIND.sub(r"what \1 \2", body, count=1)
    return body[:1].upper() + body[1:] + mark


def _base(verb: str, lexicon: Lexicon) -> str:
    return lexicon.lemmas(verb.lower()).get("v", "") if verb.endswith("ing") else ""


def _flat(text: str) -> str:
    """Return *text* in one line: fields that stand in lines are parted by commas."""
    lines = [_BULLET.sub("", line.strip()) for line in text.splitlines() if line.strip()]
    flat = ""
    for line in lines:
        fields = ":" in line or "=" in line
        joint = ", " if flat and fields and flat[-1] not in ".?!:,;" else " "
        flat = f"{flat}{joint}{line}" if flat else line
    return _SPACES.sub(" ", _ASSIGNED.sub(": ", flat)).replace(";", ",")


_THANKS = (
    "thanks", "thank you", "many thanks", "thanks in advance", "thank you in advance",
    "thanks a lot", "thank you very much", "thank you so much", "cheers", "please",
    "if you can", "if you could", "if you do not mind", "if you don't mind", "if possible",
    "if you please",
)  # fmt: skip


def _without_thanks(sentence: str) -> tuple[str, str]:
    """Return *sentence* without thanks at its end, and its final mark."""
    body = sentence.rstrip(" .!?")
    mark = sentence[len(body) :].strip()
    for _ in range(2):
        lower = body.lower()
        if lower in _THANKS or lower in _GREETINGS:
            return "", ""
        for thanks in _THANKS:
            if lower.endswith(f", {thanks}") or (
                lower.endswith(" please") and not lower.endswith(_SAID) and thanks == "please"
            ):
                body = body[: -len(thanks)].rstrip(" ,")
                break
    return body, mark


_GREETINGS = ("hi", "hello", "hey", "hi there", "hello there", "good morning", "good evening")
_SAID = ("say please", "word please", "saying please", "mean please")
_YOU = r"(?:you|anyone|anybody|someone|somebody)"
_MODAL = r"(?:can|could|will|would|may|might)"
_SOFTLY = r"(?: (?:please|kindly|possibly|perhaps|maybe|just)){0,2}"
_BE_SO_KIND = r"(?: be so kind(?: as)? to| be able to)?"
_KNOW = r"(?:know|understand|learn|see|hear|find out|figure out|ask(?: you)?)"
_TELL = (
    r"(?:tell|inform|show|advise|remind|teach|explain|clarify|say|let)"
    r"(?: to)?(?: (?:me|us))?(?: (?:know|see))?"
)
_I_WANT = (
    r"(?:i|we)(?:(?:'d| would) (?:like|love)| want| need| wish| wanted| hope|(?:'m| am) trying) to"
)
_GREETING = re.compile(
    r"(?:hi|hello|hey|greetings|good (?:morning|afternoon|evening|day))"
    r"(?: (?:there|all|everyone|everybody|team|folks))?(?:[,!.:] ?| - )+(?=\S)"
    r"|(?:so|well|ok|okay|now), (?=\S)|(?:please|kindly)(?:, ?| )(?=[a-z])",
    re.IGNORECASE,
)
_ASKED = (
    r"(?:,|:| -)? (?:if |whether |(?=(?:(?:in|on|at|by|for|to|from|with|of|about) )?"
    r"(?:what|which|who|whom|whose|when|where|why|how)\b))"
)
_INDIRECT = re.compile(
    rf"(?:{_MODAL} {_YOU}{_SOFTLY}{_BE_SO_KIND} (?:{_TELL}|help (?:me|us)(?: to)? {_KNOW})"
    rf"|(?:do|does|would) {_YOU}(?: happen to| by any chance)? know"
    rf"|{_I_WANT} {_KNOW}"
    r"|(?:i(?:'m| am| was) )?(?:just )?(?:wondering|curious|unsure|not sure)(?: about)?"
    r"|i (?:just )?wonder(?:ed)?|i (?:do not|don't) (?:know|understand)"
    rf"|{_TELL}|help (?:me|us)(?: to)? {_KNOW}"
    rf"|any (?:idea|clue)|(?:a )?(?:quick |simple )?question){_ASKED}",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    rf"(?:{_MODAL} (?:you|anyone|someone){_SOFTLY}{_BE_SO_KIND}|please|kindly"
    r"|(?:i|we)(?:(?:'d| would) like| want| need) you to"
    r"|(?:is it possible|would it be possible)(?: for you)? to|are you able to"
    r"|it would be (?:great|nice|helpful) if you (?:could|would)"
    r"|i(?:'d| would) appreciate it if you (?:could|would)) (?P<verb>[a-z]+)\b",
    re.IGNORECASE,
)
_MIND = re.compile(r"(?:would|do) you mind(?: please)? (?P<verb>[a-z]+)\b", re.IGNORECASE)
_NAME_IT = re.compile(
    r"(?:(?:tell|give|show|get|find|provide|send)(?: (?:me|us))?|name|state|list(?: out)?)"
    r"(?: all)? (?=the (?!code|following)[a-z])",
    re.IGNORECASE,
)
"""A request for something by its name: "give me *the price of oil*" asks what that is."""
_KIND = re.compile(
    r"^(?:which|what) [a-z]+ (is|was|are|were) (the (?:[\w-]+ ){1,3}of )", re.IGNORECASE
)
"""A question that names the kind of its answer: "which *city* is the capital of …"."""
