"""Answering: which call an upstream answers here, so that what it asks is asked on its behalf.

Upstreams ask on behalf of a call that they name. A wrapped function, an SDK's client or a helper
that holds the application has no call to name; what it asks is attributed by a context variable,
which is set while an upstream answers and while the stream that it answered with is read. Tasks and
``asyncio.to_thread`` inherit it; a task that was started before, and a thread of an executor, do
not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial

from msgspec import Struct

from argo_mw.model.call import Call
from argo_mw.model.outcome import Outcome
from argo_mw.model.stream import Stream


class UnderWay(Struct, eq=False):
    """A call that is being answered.

    Attributes:
        call: Which; ``None`` once it is answered.
        around: The same of the upstream that asked it, if one has.
        streams: How many streams of the answer have not ended.
    """

    call: Call | None
    around: UnderWay | None
    streams: int = 0

    def stream_ended(self, _: Stream[object]) -> None:
        """Note that a stream of the answer has ended."""
        self.streams -= 1
        if not self.streams:
            self.call = None


class Answering:
    """The calls of one application that upstreams are answering.

    Attributes:
        current: What is being answered in the current context.
    """

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current: ContextVar[UnderWay | None] = ContextVar("argo_mw_answering", default=None)

    def here(self) -> Call | None:
        """Return the call that is being answered here, if any.

        A task that outlives its upstream keeps the context, though not the call: what it asks, it
        asks for itself.
        """
        found = self.current.get()
        while found is not None and found.call is None:
            found = found.around
        return None if found is None else found.call

    def nowhere(self) -> Context:
        """Return a copy of the current context, in which no call is being answered."""
        context = copy_context()
        context.run(self.current.set, None)
        return context

    @contextmanager
    def answer(self, call: Call) -> Iterator[UnderWay]:
        """Let what is asked inside be asked on behalf of *call*."""
        under_way = UnderWay(call, self.current.get())
        before = self.current.set(under_way)
        try:
            yield under_way
        finally:
            self.current.reset(before)
            under_way.call = None

    def read_streams(self, call: Call, under_way: UnderWay, answers: Sequence[object]) -> None:
        """Let the streams among *answers* to *call*, whose sources may ask too, do so for it."""
        for answer in answers:
            if isinstance(answer, Outcome) and isinstance(answer.value, Stream):
                under_way.call = call
                under_way.streams += 1
                answer.value.read_after(partial(self.current.set, under_way))
                answer.value.on_done(under_way.stream_ended)
