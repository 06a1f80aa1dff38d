"""Aliases: verdicts of a judge about one prompt and one known answer, and their stored form."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from argo_mw.plugin import Codecs
from argo_mw_similarity.answers.known_answer import FORM


@frozen
class Alias:
    """What a judge said of a prompt and an answer, or what a reviewer said of the judge.

    Attributes:
        number: Its number in its scope, beside those of answers; negative if only this process
            has it.
        text: The prompt that was asked, as sent.
        answer: The number of the answer that it was compared with.
        same: Whether the answer serves the prompt. Where it does not, no judge is asked again.
        score: The cosine of the two prompts.
    """

    number: int
    text: str
    answer: int
    same: bool
    score: float = 1.0


def pack(alias: Alias, codecs: Codecs, key: str) -> bytes:
    """Return *alias* as bytes for *key* of the shared store."""
    record = {
        "form": FORM,
        "alias_of": alias.answer,
        "text": alias.text,
        "same": alias.same,
        "score": alias.score,
    }
    return codecs.encode(record, key)


def alias_in(record: Mapping[str, object], number: int) -> Alias | None:
    """Return the alias in *record*, or ``None`` if it is none that this version wrote."""
    answer, text, same = (record.get(name) for name in ("alias_of", "text", "same"))
    whole = isinstance(answer, int) and isinstance(text, str) and isinstance(same, bool)
    if not whole or record.get("form") != FORM:
        return None
    assert isinstance(answer, int)
    score = record.get("score")
    return Alias(number, str(text), answer, bool(same), score if isinstance(score, float) else 1.0)
