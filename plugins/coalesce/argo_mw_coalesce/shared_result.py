"""The result that one process publishes to waiting processes: an outcome, an error, or nothing."""

from __future__ import annotations

from attrs import frozen

from argo_mw.plugin import (
    Action,
    Codecs,
    InvalidAnswer,
    NotEncodable,
    NotFound,
    Outcome,
    Refusal,
    UpstreamError,
)
from argo_mw.store import Undecodable

_FIELDS = 5
_KINDS: dict[str, type[UpstreamError]] = {"Unacceptable": InvalidAnswer}


@frozen
class SharedResult:
    """The result of a load.

    Attributes:
        outcome: Its answer, or ``None``.
        error: What it failed with, or ``None``. A result with neither holds nothing that others
            could use: they load for themselves.
        at: When the load ended, in seconds since the epoch.
        versions: The versions of the call's tags before the load began.
        fence: The fence of the lease under which it was loaded, once it is in the store.
    """

    outcome: Outcome | None = None
    error: Exception | None = None
    at: float = 0.0
    versions: tuple[object, ...] = ()
    fence: int = 0

    @property
    def empty(self) -> bool:
        return self.outcome is None and self.error is None

    def share(self) -> Outcome:
        """The outcome.

        Raises:
            Exception: What the flight ended in.
        """
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome


def write_result(codecs: Codecs, place: str, fence: int, result: SharedResult) -> bytes:
    """The bytes of *result*; the fence makes them different from those of any other flight."""
    plain = _plain(result.error)
    try:
        return codecs.encode((fence, result.at, result.versions, result.outcome, plain), place)
    except NotEncodable:
        return codecs.encode((fence, result.at, result.versions, None, None), place)


def read_result(codecs: Codecs, place: str, data: bytes) -> SharedResult:
    """The result in *data*; an empty one when they hold none."""
    record = codecs.decode(data, place)
    if isinstance(record, Undecodable) or not isinstance(record, tuple) or len(record) != _FIELDS:
        return SharedResult()
    fence, at, versions, outcome, error = record
    if not (isinstance(fence, int) and isinstance(at, float) and isinstance(versions, tuple)):
        return SharedResult()
    answer = outcome if isinstance(outcome, Outcome) else None
    return SharedResult(answer, _error(error), at, versions, fence)


def _plain(error: Exception | None) -> dict[str, object] | None:
    """What of *error* travels: only what answers the same for everyone who asks."""
    if isinstance(error, UpstreamError):
        return {
            "kind": type(error).__name__,
            "message": str(error),
            "upstream": error.upstream,
            "action": error.action.value,
            "retry_after": error.retry_after,
            "status": error.status,
        }
    if isinstance(error, Refusal):
        return {"kind": "Refusal", "message": str(error), "retry_at": error.retry_at}
    return None


def _error(plain: object) -> Exception | None:
    if not isinstance(plain, dict):
        return None
    try:
        message = str(plain["message"])
        if plain["kind"] == "Refusal":
            return Refusal(message, retry_at=plain["retry_at"])
        action, upstream = Action(plain["action"]), str(plain["upstream"])
        if plain["kind"] == "NotFound":
            return NotFound(message, upstream=upstream, action=action, status=plain["status"])
        return _KINDS.get(str(plain["kind"]), UpstreamError)(
            message,
            upstream=upstream,
            action=action,
            retry_after=plain["retry_after"],
            status=plain["status"],
        )
    except (KeyError, ValueError):
        return None
