"""One streamed answer for several callers: none changes what another sees."""

from __future__ import annotations

from argo_mw.plugin import Tasks
from argo_mw_llm.bodies.streams import AnswerStream, from_plain, to_plain


async def test_no_caller_changes_the_ending_that_others_see() -> None:
    tasks = Tasks()
    try:
        plain = [("buy", " now"), "m", "end", None, 7, (("id", "1"),)]
        stream: AnswerStream[object] = from_plain(plain, tasks)
        one, other = stream.share(), stream.share()
        ending = one.ending
        ending.parts[:] = ["sell everything"]
        ending.model, ending.stop = "another", "length"
        for handle in (one, other, stream, stream.share()):
            assert ("buy now", "m", "end") == (
                handle.text, handle.ending.model, handle.ending.stop
            )  # fmt: skip
        assert plain == list(to_plain(other))  # type: ignore[call-overload]
    finally:
        await tasks.aclose()
