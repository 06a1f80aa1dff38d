"""What a flight leaves in the store for those who wait: its outcome, its error, or nothing."""

from __future__ import annotations

from attrs import frozen

from argo_mw import (
    Action,
    Codecs,
    NotEncodable,
    NotFound,
    Outcome,
    Refusal,
    Unacceptable,
    Undecodable,
    UpstreamError,
)

_FIELDS = 5
_KINDS: dict[str, type[UpstreamError]] = {"Unacceptable": Unacceptable}


@frozen
class Landing:
    """How a flight ended.

    Attributes:
        outcome: Its answer, or ``None``.
        error: What it ended in, or ``None``. A flight with neither left nothing that others
            could use: they fly themselves.
        at: When it landed, in seconds since the epoch.
        marks: The stamps of the call's tags before it took off.
        fence: That of the lease under which it flew, once it has been left in the store.
    """

    outcome: Outcome | None = None
    error: Exception | None = None
    at: float = 0.0
    marks: tuple[object, ...] = ()
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


def write_landing(codecs: Codecs, place: str, fence: int, landing: Landing) -> bytes:
    """The bytes of *landing*; the fence makes them different from those of any other flight."""
    plain = _plain(landing.error)
    try:
        return codecs.encode((fence, landing.at, landing.marks, landing.outcome, plain), place)
    except NotEncodable:
        return codecs.encode((fence, landing.at, landing.marks, None, None), place)


def read_landing(codecs: Codecs, place: str, data: bytes) -> Landing:
    """The landing in *data*; an empty one when they hold none."""
    record = codecs.decode(data, place)
    if isinstance(record, Undecodable) or not isinstance(record, tuple) or len(record) != _FIELDS:
        return Landing()
    fence, at, marks, outcome, error = record
    if not (isinstance(fence, int) and isinstance(at, float) and isinstance(marks, tuple)):
        return Landing()
    answer = outcome if isinstance(outcome, Outcome) else None
    return Landing(answer, _error(error), at, marks, fence)


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
