"""Streams of a model's answer, with its usage at their end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from attrs import define, evolve, field

from argo_mw.plugin import NotEncodable, Stream, Tasks
from argo_mw_llm.answers import Usage

C = TypeVar("C")


@define
class Ending:
    """What a stream's source knows of the answer so far.

    Attributes:
        model: The model.
        stop: Why the answer ended, or "" before it has.
        usage: The tokens it took, or ``None`` while they are not known.
        miscounted: Whether the provider sent counts that cannot be.
        heard: Characters received so far, for an estimate when no count comes.
        headers: Headers of the answer, for clients of the provider's SDK.
        parts: The text received so far.
    """

    model: str
    stop: str = ""
    usage: Usage | None = None
    heard: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    parts: list[str] = field(factory=list)
    miscounted: bool = False


class AnswerStream(Stream[C]):
    """A model's answer in pieces. Complete only if the model came to its own end.

    Attributes:
        limits: Headers that tell how often the provider may still be asked.
    """

    limits: tuple[tuple[str, str], ...] = ()

    def __init__(
        self,
        source: AsyncIterator[C],
        tasks: Tasks,
        ending: Ending | None = None,
        *,
        name: str = "answer",
    ) -> None:
        super().__init__(source, tasks, name=name)
        self._ending = ending or Ending("")

    @property
    def ending(self) -> Ending:
        """What is known of the answer: a copy, since several callers may ask."""
        return evolve(self._ending, parts=list(self._ending.parts))

    @property
    def complete(self) -> bool:
        """Whether the answer is one to keep: not aborted, cut off, or refused."""
        return super().complete and is_kept(self._ending.stop, keep_tools=False)

    @property
    def aborted(self) -> bool:
        """Whether it broke off before the model had come to an end."""
        return super().aborted and not self._ending.stop

    @property
    def text(self) -> str:
        """The text so far, where the pieces are text."""
        return "".join(self._ending.parts)


def to_plain(stream: AnswerStream[object]) -> object:
    """Return the parts of *stream* that are stored for replay.

    Raises:
        NotEncodable: It is not complete.
    """
    if not stream.complete:
        msg = "a stream that is not complete is no answer to keep"
        raise NotEncodable(msg)
    ending = stream.ending
    return [
        stream.chunks,
        ending.model,
        ending.stop,
        ending.usage,
        ending.heard,
        ending.headers,
    ]


def from_plain(plain: Any, tasks: Tasks) -> AnswerStream[object]:
    """Return the stream that was stored as *plain*, complete as it is; *tasks* own its readers."""
    chunks, model, stop, usage, heard, headers = plain
    parts = [chunk for chunk in chunks if isinstance(chunk, str)]
    stream: AnswerStream[object] = AnswerStream.of(chunks, tasks)
    stream._ending = Ending(model, stop, usage, heard, headers, parts)
    return stream


def is_kept(stop: str, *, keep_tools: bool) -> bool:
    """Return whether an answer that ended with *stop* may be kept for others.

    Truncation and refusals are no answers; a tool call may have side effects, which a replay
    would repeat.
    """
    return stop == "end" or (stop == "tool" and keep_tools)
