"""From a prompt to tokens: normalisation, code, numbers with units, names and base forms."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation

from attrs import evolve, field, frozen

from argo_mw_similarity.language.lexicon import MAX_REMEMBERED, Facts, Lexicon

_STRAIGHT = str.maketrans("\u2019\u2018\u201c\u201d\u2044", "''\"\"/")
_SYMBOLS = frozenset({"Sm", "Sc", "So"})
"""Kinds of characters that say something by themselves: "≤", "₿", "👍"."""
_ORNAMENTS = frozenset("©®")
_MINUS = re.compile("[\u2212\u2013](?=[$€£¥]?[.\\d])")
_RAISED = re.compile(r"(?<=\w)[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+")
_SPACES = re.compile(" +")
_INDENT = re.compile(r" {4}|\t")
_LETTERS = re.compile("[A-Za-z]+")
_IN_TIMES = re.compile(r"[\s.]")
_VERSION = re.compile(r"v\d")
_AROUND = re.compile(r"\(\)$|^\W+")
_FENCE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_TOKEN = re.compile(
    r"""
    (?P<url>https?://\S+|www\.\S+)
  | (?P<code>`[^`\n]+`)
  | (?P<time>\b\d{1,2}(?::\d{2})?\s?(?:am|pm|a\.m\.|p\.m\.)(?![a-z])|\b\d{1,2}:\d{2}(?::\d{2})?\b)
  | (?P<date>\b\d{4}-\d{1,2}-\d{1,2}\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b)
  | (?P<number>(?:(?<![\w.])[-+])?(?<![\w.])\d{1,3}(?:,\d{3})+(?:\.\d+)?
             |(?:(?<![\w.])[-+])?(?<![\w.])\d+(?:\.\d+)?)
      (?P<scale>\s?(?:%|bps?\b|[kKmMbBtT]n?\b|th\b|st\b|nd\b|rd\b|x\b))?(?![\w(]|\.\w)
  | (?P<word>[^\W_](?:[\w&]|['.@/+\-](?=\w))*(?:\(\w*\)|\+\+|\#)?|_\w+)
  | (?P<mark>[$€£¥₹%]|[?!.,;:()"\[\]{}<>=*/+|~^\\-])
  | (?P<symbol>[^\w\s])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SUFFIX = re.compile(r"^(.+?)(n't|'s|'re|'ve|'ll|'d|'m)$")
_EXPANSIONS = {"'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "n't": "not", "'d": "would"}
_IRREGULAR = {"can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not"),
              "shan't": ("shall", "not"), "let's": ("let", "us")}  # fmt: skip
_IS_AFTER = frozenset(
    {"what", "who", "where", "when", "how", "why", "it", "that", "there", "here", "he", "she"}
)
_SCALES = {"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9, "t": 12, "tn": 12}
_SMALL = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS = {word: value for value, word in enumerate(_SMALL.split(), 2)} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), 2)
}
_POWERS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9,
           "trillion": 10**12, "lakh": 10**5, "crore": 10**7}  # fmt: skip
_MONTH_NAMES = (
    "january february march april may june july august september october november december"
)
_DAY_NAMES = "monday tuesday wednesday thursday friday saturday sunday"
_CALENDAR = frozenset((*_MONTH_NAMES.split(), *_DAY_NAMES.split()))
_SHORT = {name[:3]: name for name in _CALENDAR}
_QUARTER = re.compile(r"^(?:q([1-4])|([1-4])q)(?:'?(\d{2}|\d{4}))?$|^(\d{4})q([1-4])$")
_DIGITS_AND_Q = frozenset("0123456789q")
_FISCAL = re.compile(r"^fy'?(\d{2}|\d{4})$")


@frozen
class Token:
    """One token of a prompt.

    Attributes:
        text: In lower case, contractions expanded, the canonical form of a name.
        kind: ``word``, ``name`` (compared exactly), ``number``, ``date``, ``code``, ``mark``
            (punctuation and operators) or ``symbol`` (any other sign that is not a letter).
        raw: As written.
        lemmas: Base forms, whatever the part of speech.
        classes: The closed classes that it belongs to.
        initial: Whether it begins a sentence.
        unit: Of a number, its unit or "".
    """

    text: str
    kind: str
    raw: str = ""
    lemmas: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    initial: bool = False
    unit: str = ""
    parts: dict[str, str] = field(factory=dict, eq=False, repr=False)


def flattened(text: str) -> str:
    """Return *text* without what never matters outside of code: kinds of quotes, runs of spaces.

    Prompts that are equal then are the same prompt. Text that holds code keeps its layout.
    """
    folded = unicodedata.normalize("NFC", text).strip()
    if "\n" in folded or "`" in folded or "\t" in folded:
        return folded
    return _SPACES.sub(" ", folded.translate(_STRAIGHT))


def code_blocks(text: str) -> tuple[str, ...]:
    """The fenced and the indented code in *text*, exactly as written."""
    fenced = tuple(_FENCE.findall(text))
    indented = tuple(line for line in _FENCE.sub("", text).splitlines() if _INDENT.match(line))
    return fenced + indented


def tokenize(text: str, lexicon: Lexicon) -> tuple[Token, ...]:
    """The tokens of *text* without its code blocks, phrases replaced by their equivalents."""
    prose = _RAISED.sub(lambda power: f"^{power.group()}", _FENCE.sub(" ", text))
    prose = _MINUS.sub("-", unicodedata.normalize("NFKC", prose).translate(_STRAIGHT))
    tokens = _number_words(_split(prose, lexicon), lexicon)
    tokens = _units(_phrases(tokens, lexicon), lexicon)
    return tuple(_known(token, lexicon) for token in tokens)


def _split(prose: str, lexicon: Lexicon) -> list[Token]:
    words = _LETTERS.findall(prose)
    shouting = len(words) > 3 and sum(w.isupper() for w in words) > 0.7 * len(words)
    titled = len(words) > 4 and sum(w[0].isupper() for w in words) > 0.85 * len(words)
    tokens: list[Token] = []
    initial = True
    for match in _TOKEN.finditer(prose):
        raw, kind = match.group().strip(), match.lastgroup or ""
        if match.group("number"):
            tokens.append(_number(match.group("number"), (match.group("scale") or "").strip()))
        elif kind in {"url", "code"}:
            tokens.append(
                Token(raw.strip("`"), "code", raw)
                if kind == "code"
                else Token(raw.lower(), "name", raw)
            )
        elif kind in {"time", "date"}:
            tokens.append(Token(_IN_TIMES.sub("", raw.lower()), "date", raw))
        elif kind == "mark":
            tokens.append(Token(raw, "mark", raw))
        elif kind == "symbol":
            if raw not in _ORNAMENTS and unicodedata.category(raw) in _SYMBOLS:
                tokens.append(Token(raw, "symbol", raw))
            continue
        else:
            tokens += _word(raw, initial, not (shouting or titled), lexicon)
        initial = kind == "mark" and (raw in ".?!:" or (initial and raw in '("[*-'))
    return tokens


def _number(digits: str, scale: str) -> Token:
    raw = digits + scale
    try:
        value = Decimal(digits.replace(",", ""))
    except InvalidOperation:
        return Token(raw.lower(), "name", raw)
    scale = scale.lower()
    if scale in _SCALES:
        value = value.scaleb(_SCALES[scale])
        scale = ""
    unit = {"%": "%", "bp": "bp", "bps": "bp", "x": "x"}.get(scale, "ordinal" if scale else "")
    return Token(_plain(value), "number", raw, unit=unit)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _word(raw: str, initial: bool, cased: bool, lexicon: Lexicon) -> list[Token]:
    lower = raw.lower().rstrip(".")
    if lower in _IRREGULAR:
        return [Token(part, "word", raw, initial=initial and i == 0)
                for i, part in enumerate(_IRREGULAR[lower])]  # fmt: skip
    if "'" in lower and (suffix := _SUFFIX.match(lower)):
        stem, ending = suffix.groups()
        if ending == "'s":
            ending = "is" if stem in _IS_AFTER else "'s"
        head = _word(raw[: len(stem)], initial, cased, lexicon)
        return [*head, Token(_EXPANSIONS.get(ending, ending), "word", ending)]
    if dated := _date(lower, raw, initial):
        return [dated]
    if lower in lexicon.names and raw[0].isupper() and (len(lower) > 2 or raw.isupper()):
        return [Token(lexicon.names[lower], "name", raw, initial=initial)]
    key = (raw, initial, cased)
    kind = lexicon.kinds.get(key)
    if kind is None:
        if len(lexicon.kinds) > MAX_REMEMBERED:
            lexicon.kinds.clear()
        kind = lexicon.kinds[key] = _kind(raw, lower, initial, cased, lexicon)
    return [Token(lower, kind, raw, initial=initial)]


def _kind(raw: str, lower: str, initial: bool, cased: bool, lexicon: Lexicon) -> str:
    if raw == "A" and cased and not initial:
        return "name"
    if lexicon.classes_of(lower) and (not raw[1:].isupper() or len(raw) < 2 or not cased):
        return "word"
    if not raw.replace("-", "").replace("'", "").isalpha():
        slashed = raw.replace("/", "").isalpha() and raw.islower()
        return "word" if slashed else "name"
    inner_capital = any(c.isupper() for c in raw[1:])
    if cased and (inner_capital or (raw[0].isupper() and not initial)):
        return "name"
    hyphenated = "-" in lower and all(lexicon.known(p) for p in lower.split("-") if p)
    if not hyphenated and not lexicon.known(lower):
        return "name"
    return "word"


def _date(lower: str, raw: str, initial: bool) -> Token | None:
    if lower[0] in _DIGITS_AND_Q and (quarter := _QUARTER.match(lower)):
        q, q2, year, year2, q3 = quarter.groups()
        digits = year or year2 or ""
        return Token(f"q{q or q2 or q3}{digits[-2:]}", "date", raw)
    if lower[0] == "f" and (fiscal := _FISCAL.match(lower)):
        return Token(f"fy{fiscal.group(1)[-2:]}", "date", raw)
    named = raw[0].isupper() and not initial
    if lower in _CALENDAR and (named or lower not in {"may", "march"}):
        return Token(lower, "date", raw)
    if named and len(raw) == 3 and lower in _SHORT:
        return Token(_SHORT[lower], "date", raw)
    return None


def _number_words(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Replace number words by numbers: ``three hundred`` becomes 300."""
    result: list[Token] = []
    for at, token in enumerate(tokens):
        lower = token.text
        last = result[-1] if result else None
        after_number = last is not None and last.kind == "number" and not last.unit
        if lower in _POWERS and (after_number or (last is not None and last.text in {"a", "one"})):
            base = Decimal(last.text) if after_number and last else Decimal(1)
            result[-1] = Token(_plain(base * _POWERS[lower]), "number", lower)
        elif (times := _NUMBER_WORDS.get(lower.removesuffix("fold").rstrip("-"))) and times != (
            _NUMBER_WORDS.get(lower)
        ):
            result.append(Token(str(times), "number", lower, unit="fold"))
        elif lower == "one" and _counts(tokens, at, lexicon):
            result.append(Token("1", "number", lower))
        elif lower in _NUMBER_WORDS and token.kind == "word":
            value = _NUMBER_WORDS[lower]
            tens = after_number and last is not None and last.raw in _NUMBER_WORDS
            if tens and last is not None and int(Decimal(last.text)) % 10 == 0 and value < 10:
                value += int(Decimal(last.text))
                result.pop()
            result.append(Token(str(value), "number", lower))
        else:
            result.append(token)
    return result


def _counts(tokens: list[Token], at: int, lexicon: Lexicon) -> bool:
    """Whether "one" at *at* is a number: "*one* broker", but not "one should"."""
    following = tokens[at + 1] if at + 1 < len(tokens) else None
    ratio = [t.text for t in (*tokens[max(0, at - 2) : at], *tokens[at + 1 : at + 3])]
    if any(t in _NUMBER_WORDS for t in ratio) and not {"for", "to"}.isdisjoint(ratio):
        return True
    if following is None or following.kind != "word" or lexicon.classes_of(following.text):
        return False
    preceding = tokens[at - 1].text if at else ""
    determined = preceding == "than" or lexicon.classes_of(preceding) & _DETERMINERS
    return not determined and "n" in lexicon.lemmas(following.text)


_DETERMINER_CLASSES = (
    "article demonstrative what all some other negation ability advice necessity future"
)
_DETERMINERS = frozenset(_DETERMINER_CLASSES.split())


def _phrases(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    result: list[Token] = []
    at = 0
    while at < len(tokens):
        for phrase, replacement in lexicon.phrases.get(tokens[at].text, ()):
            here = tokens[at : at + len(phrase)]
            if tuple(t.text for t in here) == phrase and phrase != replacement:
                first = here[0].initial
                kinds = ["name" if w in lexicon.names else "word" for w in replacement]
                result += [
                    Token(w, kind, w, initial=first and i == 0)
                    for i, (w, kind) in enumerate(zip(replacement, kinds, strict=True))
                ]
                if not replacement and first and at + len(phrase) < len(tokens):
                    follower = tokens[at + len(phrase)]
                    tokens[at + len(phrase)] = evolve(follower, initial=True)
                at += len(phrase)
                break
        else:
            result.append(tokens[at])
            at += 1
    return result


def _units(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Move currency signs and unit words into the number beside them."""
    result: list[Token] = []
    skip = False
    weighs = any("weighing" in lexicon.classes_of(token.text) for token in tokens)
    for i, token in enumerate(tokens):
        if skip:
            skip = False
            continue
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        unit = lexicon.units.get(token.text, "")
        sign = token.kind == "mark" or token.text in {"rs", "inr", "usd", "eur", "gbp", "us$"}
        if unit and sign and following is not None and following.kind == "number":
            tokens[i + 1] = evolve(following, unit=following.unit or unit)
            continue
        if token.kind == "number" and not token.unit and following is not None:
            unit = lexicon.units.get(following.text, "")
            if unit and following.kind in {"word", "mark"}:
                unit = "lb" if weighs and following.text in {"pound", "pounds"} else unit
                result.append(evolve(token, unit=unit))
                skip = True
                continue
        result.append(token)
    return result


def _known(token: Token, lexicon: Lexicon) -> Token:
    """*token* with what the lexicon knows of it; made anew, for ``evolve`` takes thrice as long."""
    if token.kind not in {"word", "name", "code"}:
        alone = frozenset({token.text})
        return Token(token.text, token.kind, token.raw, alone, unit=token.unit)
    key = (token.text, token.kind, token.raw)
    facts = lexicon.facts.get(key)
    if facts is None:
        if len(lexicon.facts) > MAX_REMEMBERED:
            lexicon.facts.clear()
        facts = lexicon.facts[key] = _facts(token, lexicon)
    return Token(token.text, token.kind, token.raw, facts[0], facts[1], token.initial,
                 token.unit, facts[2])  # fmt: skip


def _facts(token: Token, lexicon: Lexicon) -> Facts:
    classes = lexicon.classes_of(token.text) if token.kind == "word" else frozenset[str]()
    parts = lexicon.lemmas(token.text)
    lemmas = set(parts.values()) | {token.text}
    if token.text.endswith("s") and token.text[:-1] in lexicon.words:
        lemmas.add(token.text[:-1])
    if token.kind == "code":
        lemmas.add(token.text.removesuffix("()"))
    elif token.kind == "name" or not parts:
        bare = _AROUND.sub("", token.text) or token.text
        lemmas |= {bare, token.raw.removesuffix("()"), _singular(token.raw, bare)}
        if _VERSION.match(bare):
            lemmas.add(bare[1:])
    return frozenset(lemmas), classes, parts


def _singular(raw: str, bare: str) -> str:
    """The base form of a word that no dictionary lists: "ETFs", but not "HTTPS", is a plural."""
    if len(raw) > 1 and raw.isupper():
        return bare
    return bare[:-1] if raw.endswith("s") and raw[:-1].isupper() else _stem(bare)


def _stem(word: str) -> str:
    """The base form of a word that no dictionary lists, by its ending alone."""
    for ending in ("ings", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 3:
            stem = word[: -len(ending)]
            return stem.rstrip("e") if not stem.endswith("ss") or ending != "s" else word
    return word.rstrip("e")
