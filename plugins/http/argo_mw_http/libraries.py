"""The libraries that clients are built on: httpx2, and httpx, from which it comes.

Both have the same classes, and neither takes those of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from argo_mw.plugin import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    Refusal,
    Turns,
)
from argo_mw_http.answers import Headers, HttpAnswer, NotShared, answer_of, why_private
from argo_mw_http.exchange import Arrived, Served
from argo_mw_http.identity import PORTS, HttpRequest

_LIVE: Final = (
    "application/grpc",
    "application/jsonl",
    "application/x-ndjson",
    "application/stream+json",
    "multipart/x-mixed-replace",
    "text/event-stream",
)
"""Content types of streams that last as long as a client listens."""
_SWITCHED: Final = 101
_NO_BODY: Final = (204, 304)


class Library:
    """Reads requests and responses of one library, and makes them.

    Args:
        module: The library.

    Attributes:
        name: Its name.
    """

    def __init__(self, module: ModuleType) -> None:
        self.name = module.__name__
        self._module = module
        bases = (_Body, module.AsyncByteStream, module.SyncByteStream)
        self._body: Any = type("Body", bases, {})

    def read(self, request: Any, body: bytes = b"") -> HttpRequest:
        """Return *request* as routes see it, with the *body* that was read of it."""
        url = request.url
        path, _, query = url.raw_path.partition(b"?")
        return HttpRequest(
            request.method.upper(),
            url.scheme,
            url.raw_host.decode("latin-1").lower(),
            url.port or PORTS.get(url.scheme, 0),
            path.decode("latin-1"),
            query.decode("latin-1"),
            url.userinfo.decode("latin-1"),
            _plain(request.headers),
            body,
        )

    def length_of(self, request: Any) -> int | None:
        """Return how many bytes the body of *request* has, or ``None`` where it does not say."""
        said = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or not said.isdigit():
            return None
        return int(said[:18])

    def patience_of(self, request: Any) -> float | None:
        """Return the seconds that a client waits for the beginning of a response."""
        timeout = request.extensions.get("timeout")
        read = timeout.get("read") if isinstance(timeout, Mapping) else None
        return float(read) if isinstance(read, (int, float)) else None

    def with_conditions(self, request: Any, conditions: Headers) -> Any:
        """Return *request* with the headers *conditions* beside its own."""
        if not conditions:
            return request
        return self._module.Request(
            request.method,
            request.url,
            headers=[*request.headers.raw, *_raw(conditions)],
            stream=request.stream,
            extensions=request.extensions,
        )

    async def take(self, request: Any, response: Any, limit: int, why: str) -> Arrived[Any]:
        """Return what *response* brings: read whole, where others may have it.

        Args:
            request: The request.
            response: The response, of which nothing was read.
            limit: Bytes of its body at most that are read.
            why: Why others may not have it, or "".
        """
        why = why or _why_not_shared(response, limit)
        if why:
            return Arrived(NotShared(why, response.status_code), response)
        if response.is_stream_consumed or response.is_closed:
            return self._was_read(request, response, limit)
        pieces, whole, turns = aiter(response.stream), bytearray(), Turns()
        try:
            async for piece in pieces:
                whole += piece
                if len(whole) > limit:
                    return self._goes_on(response, bytes(whole), pieces, limit)
                if turns.due():
                    await asyncio.sleep(0)
        except Exception as error:
            with contextlib.suppress(Exception):
                await response.stream.aclose()
            return self._broke_off(response, bytes(whole), error)
        except BaseException:
            with contextlib.suppress(Exception):
                await response.aclose()
            raise
        await response.stream.aclose()
        return self._whole(request, response, bytes(whole))

    def take_blocking(self, request: Any, response: Any, limit: int, why: str) -> Arrived[Any]:
        """Do what :meth:`take` does, for a synchronous client, in a thread."""
        why = why or _why_not_shared(response, limit)
        if why:
            return Arrived(NotShared(why, response.status_code), response)
        if response.is_stream_consumed or response.is_closed:
            return self._was_read(request, response, limit)
        pieces, whole = iter(response.stream), bytearray()
        try:
            for piece in pieces:
                whole += piece
                if len(whole) > limit:
                    return self._goes_on(response, bytes(whole), pieces, limit)
        except Exception as error:
            with contextlib.suppress(Exception):
                response.stream.close()
            return self._broke_off(response, bytes(whole), error)
        response.stream.close()
        return self._whole(request, response, bytes(whole))

    def response(self, served: Served, method: str, now: float) -> Any:
        """Return the response to a request by *method* that was *served* at *now*."""
        answer, outcome = served.answer, served.outcome
        headers = [one for one in answer.headers if one[0].lower() not in ("age", "content-length")]
        if method == "HEAD":
            headers += [one for one in answer.headers if one[0].lower() == "content-length"]
        elif answer.status not in _NO_BODY:
            headers.append(("content-length", str(len(answer.body))))
        extensions: dict[str, object] = {"http_version": answer.version.encode("ascii", "ignore")}
        if answer.reason:
            extensions["reason_phrase"] = answer.reason.encode("latin-1", "ignore")
        if outcome is not None:
            said = answer.header("age") or "0"
            before = int(said[:12]) if said.isascii() and said.isdigit() else 0
            headers.append(("age", str(before + int(outcome.age(now)))))
            extensions["argo_mw.outcome"] = outcome
        return self._module.Response(
            answer.status,
            headers=_raw(headers),
            stream=self._body(answer.body),
            extensions=extensions,
        )

    def refused(self, error: Refusal, now: float) -> Any:
        """Return the response to a request that a guard has refused."""
        status = 429
        if isinstance(error, BudgetExceeded):
            status = 402
        elif isinstance(error, CircuitOpen):
            status = 503
        body = {"type": "argo_mw_refusal", "code": type(error).__name__, "message": str(error)}
        content = json.dumps({"error": body}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(content)))]
        if error.retry_at is not None:
            headers.append(("retry-after", str(max(1, round(error.retry_at - now + 0.5)))))
        return self._module.Response(status, headers=_raw(headers), stream=self._body(content))

    def too_late(self, error: DeadlineExceeded, request: Any) -> Exception:
        """Return the library's own error for a caller whose time is up."""
        late: Exception = self._module.ReadTimeout(str(error), request=request)
        return late

    def _whole(self, request: Any, response: Any, body: bytes) -> Arrived[Any]:
        response.stream = self._body(body)
        return Arrived(_answer(request, response, _plain(response.headers), body), response)

    def _was_read(self, request: Any, response: Any, limit: int) -> Arrived[Any]:
        """Return what *response* brings, whose body another transport has read, decompressed."""
        try:
            body: bytes = response.content
        except self._module.StreamError:
            return Arrived(NotShared("its body is gone", response.status_code), response)
        if len(body) > limit:
            return Arrived(NotShared(_too_large(limit), response.status_code), response)
        headers = _plain(response.headers)
        headers = [one for one in headers if one[0].lower() != "content-encoding"]
        return Arrived(_answer(request, response, headers, body), response)

    def _goes_on(self, response: Any, begun: bytes, pieces: Any, limit: int) -> Arrived[Any]:
        """Return a body that is too large to share: its caller reads on in it."""
        response.stream = self._body(begun, pieces, response.stream)
        return Arrived(NotShared(_too_large(limit), response.status_code), response)

    def _broke_off(self, response: Any, begun: bytes, error: Exception) -> Arrived[Any]:
        """Return a body that broke off: its caller reads as far as it came."""
        response.stream = self._body(begun, error=error)
        return Arrived(NotShared("it broke off", response.status_code), response, error)


class _Body:
    """A body that is in memory, or whose beginning is.

    Args:
        begun: The bytes that are in memory.
        pieces: Those that are still to come, if there are any.
        stream: What they come from.
        error: What it breaks off with.
    """

    def __init__(
        self,
        begun: bytes,
        pieces: Any = None,
        stream: Any = None,
        *,
        error: Exception | None = None,
    ) -> None:
        self._begun = begun
        self._pieces = pieces
        self._stream = stream
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield self._begun
        if self._error is not None:
            raise self._error
        if self._pieces is not None:
            yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._begun
        if self._error is not None:
            raise self._error
        if self._pieces is not None:
            async for piece in self._pieces:
                yield piece

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


def _why_not_shared(response: Any, limit: int) -> str:
    if response.status_code == _SWITCHED:
        return "it speaks another protocol"
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _LIVE:
        return f"it is a live stream ({kind})"
    said = response.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > limit:
        return _too_large(limit)
    return why_private(_plain(response.headers)) or ""


def _too_large(limit: int) -> str:
    return f"it has more than {limit} bytes"


def _answer(request: Any, response: Any, headers: Headers, body: bytes) -> HttpAnswer:
    version: bytes = response.extensions.get("http_version", b"HTTP/1.1")
    reason: bytes = response.extensions.get("reason_phrase", b"")
    return answer_of(
        response.status_code,
        headers,
        body,
        _plain(request.headers),
        version=version.decode("ascii", "ignore"),
        reason=reason.decode("latin-1"),
    )


def _plain(headers: Any) -> Sequence[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw]


def _raw(headers: Headers) -> Sequence[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
