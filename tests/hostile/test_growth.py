"""No pattern and no step that reads foreign text takes more than linear time."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import pytest

from argo_mw import ArgoError
from argo_mw.base.secret import redact_url
from argo_mw_llm.answers import Completion, RawResponse, Usage
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.costs.families import family_of
from argo_mw_llm.costs.usage import parse, read_events
from argo_mw_llm.providers.failures import from_status
from argo_mw_llm.providers.prepare import collapse
from argo_mw_llm.views import read_opinion
from argo_mw_llm.wires import CHAT, MESSAGES, RESPONSES
from argo_mw_market.failures import Failure, judge
from argo_mw_market.massive import RULES
from argo_mw_market.symbols import read_symbol
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.factory import policy_of
from argo_mw_similarity.language.lexicon import Lexicon, load
from argo_mw_similarity.language.normal_form import normal_form
from argo_mw_similarity.language.reading import read
from argo_mw_similarity.language.text import code_blocks, flattened
from argo_mw_similarity.opinions.same_question import verdict_in
from argo_mw_similarity.prompt import Prompts
from argo_mw_similarity.search.finder import MAX_CHARACTERS
from tests.hostile.growth import HELD, seconds, superlinear
from tests.hostile.patterns import ROOT, compiled, texts

LONG = 16_384
VERY_LONG = 65_536

UNITS = (
    " ", "\n", "\t", "<", ">", "0", "a", "A", '"', "'", "(", "[", "{", "]", "}", "`", "```", "~~~",
    ".", ",", "-", "/", ":", "@", "=", "%", "$", "\\", "\x1b[", "\u202e", "\ud800", "é", "़", "ﷺ",
    "1,234", "1.", "a's", "n't ", "don't ", "last ", "last a ", "this ", "as of ", "a-", "://", "://a:",
    "?key=", "data:", "data: {\n", "event: message_stop\n", "[DONE]", ". \n", ", . \n", "-20260101",
    "a.\n", "- \n", "# \n", "|", "no, ", "not ", "a, b ", "buy and ", "if the ", "`a`", "three hundred ",
    '{"a":', '{"a":1,', "[[],", "\\u0041", "<a b='", "&lt;", "-v1", "[x]",
)  # fmt: skip
STARTS = ("", "word", "last ", "a.\n", "<", '{"error": "', "data: ", "://u:")
ENDS = ("", "word", "\n", "@", ">", '"}')


def _tolerant(action: Callable[[str], object]) -> Callable[[str], object]:
    """Return *action* as one that may refuse its text."""

    def run(text: str) -> None:
        try:
            action(text)
        except (ValueError, ArgoError):
            return

    return run


def _completion(text: str) -> Completion:
    return Completion(text, "m", "end", Usage())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


STEPS: Mapping[str, Callable[[str], object]] = {
    "redact": redact_url,
    "prepare: collapse": collapse,
    "llm: an error's page": lambda text: from_status("glm", 500, _bytes(text), {}),
    "llm: an error's fields": lambda text: from_status(
        "glm", 400, {"error": {"message": text, "code": text}}, {}
    ),
    "llm: an opinion": lambda text: read_opinion(_completion(text)),
    "llm: a body": lambda text: RawResponse(200, (), _bytes(text)).text,
    "llm: JSON": lambda text: parse(_bytes(text)),
    "llm: events": lambda text: read_events(MESSAGES, _bytes(text), Ending("m")),
    "llm: events of chats": lambda text: read_events(CHAT, _bytes(text), Ending("m")),
    "llm: events of responses": lambda text: read_events(RESPONSES, _bytes(text), Ending("m")),
    "llm: a model's name": family_of,
    "market: an error": lambda text: judge("massive", RULES, Failure(500, text)),
    "market: a symbol": read_symbol,
    "similarity: moments": Prompts(frozenset({"now", "今"})).momentary,
    "similarity: the same text": flattened,
    "similarity: a verdict": verdict_in,
    "similarity: code": code_blocks,
    "similarity: the normal form": lambda text: normal_form(text, _lexicon()),
}


@pytest.fixture(scope="module")
def patterns() -> dict[str, re.Pattern[Any]]:
    return compiled()


def _exhaust(pattern: re.Pattern[Any], text: str) -> None:
    pattern.match(text)
    pattern.fullmatch(text)
    for _ in pattern.finditer(text):
        pass


def _led_astray(found: Mapping[str, re.Pattern[Any]], longest: int) -> dict[str, str]:
    bad: dict[str, str] = {}
    for place, pattern in found.items():
        for text_of in texts(pattern):
            if why := superlinear(partial(_exhaust, pattern), text_of, longest):
                bad[place] = f"{text_of(24)!r}…: {why}"
                break
    return bad


def test_no_pattern_is_superlinear(patterns: dict[str, re.Pattern[Any]]) -> None:
    assert len(patterns) > 40
    assert {} == _led_astray(patterns, 4096)


@pytest.mark.soak
def test_no_pattern_is_superlinear_on_long_texts(patterns: dict[str, re.Pattern[Any]]) -> None:
    assert {} == _led_astray(patterns, VERY_LONG)


@pytest.mark.parametrize(
    "pattern",
    [r"<[^>]*>", r"[ ]{2,}\n", r"^\W*$(?<=\S)", r"\s*=\s*\d", r"(a|a)*b", r"(?:a+)+b", "://[^ ]*@"],
)
def test_the_search_finds_patterns_that_are(pattern: str) -> None:
    assert _led_astray({"": re.compile(pattern, re.MULTILINE)}, LONG)


def test_every_pattern_is_compiled_where_the_search_finds_it() -> None:
    """Patterns stand in modules, compiled: none is written where it is used."""
    functions = {"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (*ROOT.glob("argo_mw/**/*.py"), *ROOT.glob("plugins/*/argo_mw_*/**/*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "re"
        and node.attr in functions
    ]
    assert [] == found


def _texts(starts: int, ends: int) -> Iterator[Callable[[int], str]]:
    """Yield makers of texts: every unit after some *starts* of all, each with some *ends*."""
    for i, unit in enumerate(UNITS):
        for j in range(starts):
            start = STARTS[(i + j) % len(STARTS)]
            for k in range(ends):
                end = ENDS[(i + j + k) % len(ENDS)]
                yield lambda n, s=start, u=unit, e=end: s + u * (n // len(u)) + e  # type: ignore[misc]


def _slow_for(step: str, longest: int, starts: int, ends: int) -> list[str]:
    action = _tolerant(STEPS[step])
    return [
        f"{text_of(24)!r}…: {why}"
        for text_of in _texts(starts, ends)
        if (why := superlinear(action, text_of, longest))
    ]


@pytest.mark.parametrize("step", STEPS)
def test_no_step_is_superlinear(step: str) -> None:
    assert [] == _slow_for(step, LONG, starts=3, ends=1)


@pytest.mark.soak
@pytest.mark.parametrize("step", STEPS)
def test_no_step_is_superlinear_on_long_texts(step: str) -> None:
    assert [] == _slow_for(step, VERY_LONG, len(STARTS), len(ENDS))


@cache
def _lexicon() -> Lexicon:
    return load()


@pytest.mark.parametrize("unit", UNITS)
def test_prompts_are_compared_within_a_moment_up_to_the_longest(unit: str) -> None:
    """Each word of one is held against each of the other, so what is compared is bounded."""
    policy = policy_of(SimilarityConfig(), _lexicon(), {})
    asked, known = ((start + unit * MAX_CHARACTERS)[:MAX_CHARACTERS] for start in ("", "b "))
    readings = []

    def reads() -> None:
        readings.append(read(asked, _lexicon()))

    assert seconds(reads) < HELD
    readings.append(read(known, _lexicon()))
    assert seconds(lambda: policy.judge(readings[0], readings[-1], 0.99)) < HELD
