"""Votes: the answers of voices."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen
class Vote:
    """The vote of a voice about a symbol.

    Attributes:
        score: From -1 (sell) to 1 (buy).
        confidence: From 0 to 1, how sure it is.
        reason: Why, in one line.
    """

    score: float
    confidence: float
    reason: str


def read_vote(value: object) -> Vote:
    """Return the vote in a voice's answer: a :class:`Vote`, or such keys or attributes.

    Voices of other plugins answer mappings or values of their own, since plugins share no types.

    Raises:
        ValueError: It is none, or a number is out of range.
    """
    if isinstance(value, Vote):
        return _checked(value)
    score, confidence, reason = (_part(value, n) for n in ("score", "confidence", "reason"))
    try:
        vote = Vote(float(score), float(confidence), str(reason))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        msg = f"a vote has a score, a confidence and a reason; got {value!r}"
        raise ValueError(msg) from None
    return _checked(vote)


def _part(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _checked(vote: Vote) -> Vote:
    if -1.0 <= vote.score <= 1.0 and 0.0 <= vote.confidence <= 1.0:
        return vote
    msg = f"score {vote.score} must be from -1 to 1, confidence {vote.confidence} from 0 to 1"
    raise ValueError(msg)


def complaint(value: object) -> str | None:
    """Return what keeps *value* from being a voice's answer, or ``None``."""
    try:
        read_vote(value)
    except ValueError as error:
        return str(error)
    return None
