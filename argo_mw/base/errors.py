"""Errors, in one tree by cause.

Every message says what happened, where, and what to do about it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TypeVar

from argo_mw.base.printable import printable
from argo_mw.base.secret import redact

_MAX_LINE = 1000
_MAX_READ = 20 * _MAX_LINE
_NEVER = 1e12
"""Seconds, and seconds since the epoch, beyond which nothing is waited for."""

E = TypeVar("E", bound=BaseException)


class ArgoError(Exception):
    """The root of every error that the framework raises on purpose.

    Its message holds no secret of this process, no password in a URL and no control character that
    a terminal would obey.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(_shown(one) if isinstance(one, str) else one for one in arguments))


class ConfigError(ArgoError):
    """The configuration cannot be used; nothing was started or changed."""


class PluginError(ArgoError):
    """A plugin cannot be used.

    Attributes:
        plugin: The plugin's name.
    """

    def __init__(self, message: str, *, plugin: str) -> None:
        super().__init__(message)
        self.plugin = plugin


class PartlyFailed(ArgoError):
    """A part of a plugin cannot work, and the rest does.

    A plugin raises it at the end of ``startup`` or ``config_changed``, when all is open that can
    be: it stays in use and is reported. In strict mode, or where it is required, the start fails.
    """


class BadCall(ArgoError):
    """The call itself is wrong; no upstream was asked."""


class UnknownOperation(BadCall):
    """No installed plugin offers this operation."""


class BadParameter(BadCall):
    """A parameter is missing, unknown, of a wrong value, or cannot be part of a key."""


class CallCycle(BadCall):
    """A call depends on its own answer, through nested calls."""


class ScopeConflict(BadCall):
    """A public operation called one whose answers belong to a tenant; the call was not made."""


class Refusal(ArgoError):
    """A guard refused the request: a quota, a budget or a circuit breaker.

    Attributes:
        retry_at: Seconds since the epoch at which asking again makes sense, or ``None``.
    """

    def __init__(self, message: str, *, retry_at: float | None = None) -> None:
        super().__init__(message)
        self.retry_at = _time(retry_at)


class QuotaExceeded(Refusal):
    """An upstream's quota is used up."""


class BudgetExceeded(Refusal):
    """A budget in money is used up."""


class CircuitOpen(Refusal):
    """An upstream has failed too often lately and is left alone for a while."""


class LayerUnavailable(Refusal):
    """A layer that must see the call has failed, or is left out.

    Attributes:
        layer: Its name.
    """

    def __init__(self, message: str, *, layer: str) -> None:
        super().__init__(message)
        self.layer = layer


class DeadlineExceeded(ArgoError, TimeoutError):
    """The answer did not come in time."""


class Action(Enum):
    """What to do about an upstream's error."""

    RETRY = "retry"
    """The same upstream may well answer when asked again, after ``retry_after``."""

    SWITCH = "switch"
    """This upstream will not answer; another may."""

    STOP = "stop"
    """The call is at fault: no upstream will answer it."""


class UpstreamError(ArgoError):
    """An upstream did not answer.

    Its message is one line of at most 1000 characters, whatever the upstream wrote.

    Attributes:
        upstream: Its name.
        action: What to do about it.
        retry_after: Seconds to wait before asking it again, or ``None`` when unknown; a number that
            is not a time, such as NaN, counts as unknown.
        status: The HTTP status, when there was one.
        raised: What its code raised, where that was not an error of this tree; else ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        upstream: str,
        action: Action = Action.SWITCH,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(_in_short(message))
        self.upstream = upstream
        self.action = action
        self.retry_after = _time(retry_after)
        self.status = status
        self.raised: Exception | None = None


class Unsupported(UpstreamError):
    """An upstream cannot answer the question at all, and was not asked."""


class InvalidAnswer(UpstreamError):
    """An upstream answered with something unusable: an empty frame, a malformed reply."""


class NotFound(UpstreamError):
    """The upstream knows that the subject of the call does not exist."""

    def __init__(
        self,
        message: str,
        *,
        upstream: str,
        action: Action = Action.STOP,
        status: int | None = None,
    ) -> None:
        super().__init__(message, upstream=upstream, action=action, status=status)


class AllUpstreamsFailed(ArgoError):
    """Every upstream of an operation failed.

    Attributes:
        causes: One error per upstream, in the order in which they were asked.
    """

    def __init__(self, message: str, *, causes: Sequence[Exception]) -> None:
        super().__init__(message)
        self.causes = tuple(causes)


class AllUpstreamsRefused(AllUpstreamsFailed, Refusal):
    """Guards refused every upstream of an operation; ``retry_at`` is the earliest of theirs."""

    def __init__(
        self, message: str, *, causes: Sequence[Exception], retry_at: float | None
    ) -> None:
        super().__init__(message, causes=causes)
        self.retry_at = retry_at


class SharedUnavailable(ArgoError):
    """The shared store cannot be reached at the moment.

    Attributes:
        uncertain: Whether the store may have done what it was asked: it was lost before it
            answered. Otherwise it has done nothing.
    """

    def __init__(self, *args: object, uncertain: bool = False) -> None:
        super().__init__(*args)
        self.uncertain = uncertain


class EpochChanged(SharedUnavailable):
    """The shared store is in another epoch than expected: it has lost what it counted."""


class NotEncodable(ArgoError):
    """A value cannot be written to a shared store."""


class NotShareable(ArgoError):
    """A value cannot be shared by several callers, since it cannot be copied."""


class NotCopyable(ArgoError):
    """Replaces an error that several callers get, but that cannot be copied.

    Attributes:
        original: The full name of its class.
    """

    def __init__(self, message: str, *, original: str) -> None:
        super().__init__(message)
        self.original = original


class StreamAborted(ArgoError):
    """A stream ended before it was complete."""


class Closed(ArgoError):
    """The application object was closed, or not opened yet."""


def _time(seconds: float | None) -> float | None:
    # The number comes from an upstream or another process: waiting for NaN would end the event
    # loop.
    fine = isinstance(seconds, (int, float)) and 0 <= seconds < _NEVER
    return seconds if fine else None


def _in_short(text: str) -> str:
    # Cut twice, so that a secret that the first cut has split is not shown in part.
    line = printable(redact(text[:_MAX_READ]))
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…"


def _shown(text: str) -> str:
    return printable(redact(text), lines=True)


def hide_causes(error: ArgoError) -> None:
    """Replace the causes of *error* by a note if one of them shows a secret of this process.

    A cause is what a vendor's library raised: if it echoes the key, every logger that writes
    tracebacks would write the key.
    """
    causes = list(_causes(error))
    shown = list(map(_described, causes))
    if any(redact(text) != text for text in shown):
        error.__cause__ = error.__context__ = None
        for text in shown:
            error.add_note(f"caused by {_shown(text)}")


def _described(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # code of its own, which a traceback cannot show either
        return type(error).__qualname__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what *error* was caused by, and the errors of groups, as a traceback shows them."""
    seen = {id(error)}
    waiting = [_cause(error)]
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting.append(_cause(cause))
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions


def _cause(error: BaseException) -> BaseException | None:
    # Not by truth: an error may have a length, or fail when it is asked.
    return error.__context__ if error.__cause__ is None else error.__cause__


def without_frames(error: E) -> E:
    """Return *error* without its traceback and causes, whose frames hold revealed secrets.

    For errors of the configuration as they leave the framework: their message says what to do.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
