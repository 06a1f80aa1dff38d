"""Agreement: whether a known answer says the same as a new one, as far as a comparison can tell."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from argo_mw.plugin import NO_COST, Call, Cost, Stream
from argo_mw_similarity.answers.known_answer import KnownAnswer
from argo_mw_similarity.opinions.judge import Judge

_TEXTS = ("text", "content", "answer", "reply")


def agree(known: object, new: object) -> bool | None:
    """Return whether two answers say the same; ``None`` where telling takes understanding them.

    Answers with an action, such as opinions, agree in it or do not. Texts agree where they are the
    same but for case, layout and the last full stop. Anything else agrees where it is equal.
    """
    if isinstance(known, Stream) or isinstance(new, Stream):
        return None
    actions = [_field(value, ("action",)) for value in (known, new)]
    if all(isinstance(action, str) for action in actions):
        return actions[0] == actions[1]
    texts = [value if isinstance(value, str) else _field(value, _TEXTS) for value in (known, new)]
    if all(isinstance(text, str) for text in texts):
        one, other = (_words(str(text)) for text in texts)
        return True if one == other else None
    try:
        return True if type(known) is type(new) and bool(known == new) else None
    except Exception:  # values of any type: what == of a frame returns has no truth
        return None


def _field(value: object, names: tuple[str, ...]) -> object:
    for name in names:
        found = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if found is not None:
            return found
    return None


def _words(text: str) -> str:
    """Return *text* without what never matters: case, layout, and how its last sentence ends."""
    return " ".join(text.casefold().split()).rstrip(".! ")


@frozen
class Comparison:
    """Finds out whether a known answer would have done where a new one came.

    Attributes:
        judge: Says whether the two prompts ask the same where the answers do not tell; may be
            ``None``.
        exact: Whether a known answer counts as wrong where the answers do not tell.
    """

    judge: Judge | None
    exact: bool

    async def of(
        self, answer: KnownAnswer, call: Call, asked: str, new: object, *, worth_asking: bool = True
    ) -> tuple[bool | None, Cost]:
        """Return whether *answer* would have done for *call*, and what it cost to find out.

        ``None`` where nothing tells.

        Args:
            answer: The known answer.
            call: The question.
            asked: Its prompt.
            new: The answer that came.
            worth_asking: Whether the judge may be asked.
        """
        right = agree(answer.value.copy(), new)
        if right is not None:
            return right, NO_COST
        if self.exact:
            return False, NO_COST
        if self.judge is None or not worth_asking or not (answer.text and asked):
            return None, NO_COST
        if self.judge.objection(call, answer):
            return None, NO_COST
        verdict = await self.judge.ask(call, answer, asked)
        return (verdict.same if verdict.given else None), verdict.cost
