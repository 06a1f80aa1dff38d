"""Estimates of tokens before a call, and their error.

No provider here ships its tokenizer, so the estimate begins with characters (four to a token in
English and code, one and a half to a token elsewhere) and is corrected for each model by the counts
that its provider returns. Its error is measured continuously.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
from attrs import define

_ASCII_PER_TOKEN = 4.0
_OTHER_PER_TOKEN = 1.5
_OVERHEAD = 8
_LEARNING = 0.1
_FIRST_ANSWER = 256
_PER_MESSAGE = 9
"""Tokens of a message's role and frame, which as JSON have about as many."""
_PROMPT = frozenset(
    (
        *("system", "messages", "tools", "schema", "indicators", "news"),
        *("instructions", "input", "prompt", "text"),
    )
)


def rough_tokens(text: str) -> int:
    """Return about how many tokens *text* has."""
    # Encoded to be counted: a step of Python for each character stalls the loop for milliseconds.
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return int(plain / _ASCII_PER_TOKEN + (len(text) - plain) / _OTHER_PER_TOKEN) + 1


def rough_prompt(parameters: Mapping[str, object]) -> int:
    """Return about how many tokens the prompt of a call with *parameters* has."""
    body = parameters.get("body")
    fields = body if isinstance(body, dict) else parameters
    prompt = [part for name, part in fields.items() if part and name in _PROMPT]
    return _OVERHEAD + sum(map(_rough, prompt))


def _rough(part: object) -> int:
    # Messages of plain text are the common case, which needs no JSON.
    if isinstance(part, str):
        return rough_tokens(part)
    if isinstance(part, list) and all(map(_is_plain, part)):
        return sum(_PER_MESSAGE + rough_tokens(message["content"]) for message in part)
    return rough_tokens(_json(part))


def _json(part: object) -> str:
    try:
        compact = msgspec.json.encode(part, enc_hook=str)
    except (RecursionError, TypeError, ValueError):  # such as of half a surrogate pair
        return json.dumps(part, ensure_ascii=False, default=str)
    # With spaces, as the standard library writes it, which takes fifteen times as long.
    return msgspec.json.format(compact, indent=0).decode()


def _is_plain(message: object) -> bool:
    return isinstance(message, dict) and len(message) == 2 and type(message.get("content")) is str


@define
class _Learnt:
    factor: float = 1.0
    error: float = 0.0
    answer: float = _FIRST_ANSWER
    seen: int = 0


class Estimator:
    """Estimates, corrected by experience."""

    def __init__(self) -> None:
        self._models: dict[str, _Learnt] = {}

    def prompt(self, model: str, rough: int) -> int:
        """Return the prompt tokens to expect from *model* for a *rough* estimate."""
        learnt = self._models.get(model)
        return rough if learnt is None else max(1, round(rough * learnt.factor))

    def answer(self, model: str, limit: int) -> int:
        """Return the answer's tokens to expect from *model*, up to *limit*."""
        learnt = self._models.get(model)
        return min(limit, round(learnt.answer) if learnt else _FIRST_ANSWER)

    def learn(self, model: str, rough: int, prompt: int, answer: int) -> None:
        """Learn from *prompt* tokens that the provider counted where *rough* were estimated."""
        if rough <= 0 or prompt <= 0:
            return
        learnt = self._models.setdefault(model, _Learnt())
        expected = rough * learnt.factor
        rate = max(_LEARNING, 1.0 / (learnt.seen + 1))
        learnt.error += rate * (abs(expected - prompt) / prompt - learnt.error)
        learnt.factor += rate * (prompt / rough - learnt.factor)
        learnt.answer += rate * (answer - learnt.answer)
        learnt.seen += 1

    def error(self, model: str) -> float | None:
        """Return the mean relative error of recent estimates for *model*; ``None`` before any."""
        learnt = self._models.get(model)
        return learnt.error if learnt else None
