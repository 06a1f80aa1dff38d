"""What crosses between a caller and a worker: plain data, as bytes of the application's codec.

A caller begins a round at a worker, and then asks for more of it until it is done; what it asks for
again, since an answer was lost on its way, it gets again.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final, TypeVar, cast

import attrs
from attrs import frozen

from argo_mw import Options
from argo_mw.plugin import Codecs
from argo_mw.store import Undecodable
from argo_mw_fleet.errors import FleetError

REQUEST: Final = "fleet:request"
REPLY: Final = "fleet:reply"


def _minor_version() -> str:
    try:
        return ".".join(version("argo-mw").split(".")[:2])
    except PackageNotFoundError:  # a checkout that is not installed
        return "of a checkout"


VERSION: Final = f"2 of argo-mw {_minor_version()}"
"""The version of these messages: processes that speak others refuse each other.

Distributions of one minor version fit together, so a fleet may be of two while it is upgraded.
"""

T = TypeVar("T")


@frozen
class Begin:
    """Ask about subjects, unless the round has begun already, and wait for the first answers.

    Attributes:
        round: A name that no other round has.
        operation: What is asked.
        subjects: What it is asked about.
        parameters: Its other parameters.
        options: What :meth:`argo_mw.Caller.options` takes, one after the other.
    """

    round: str
    operation: str
    subjects: tuple[str, ...]
    parameters: Mapping[str, object]
    options: tuple[Options, ...]


@frozen
class More:
    """Wait for further answers.

    Attributes:
        round: Which round.
        after: How many of its answers have arrived.
    """

    round: str
    after: int


@frozen
class Stop:
    """End a round: its caller has left.

    Attributes:
        round: Which round.
    """

    round: str


@frozen
class Answered:
    """What came of one subject.

    Attributes:
        subject: Which.
        outcome: The encoded outcome, or ``None``.
        error: The fields of the error, or ``None``.
    """

    subject: str
    outcome: bytes | None
    error: dict[str, object] | None


@frozen
class Reply:
    """What a worker says.

    Attributes:
        state: ``more`` while answers are to come, ``done`` when these are the last, ``unknown``
            where there is no such round (any more), and ``refused`` where it answers none.
        answers: Those that have come.
        why: Why it refuses.
    """

    state: str
    answers: tuple[Answered, ...] = ()
    why: str = ""


Request = Begin | More | Stop


def place_of(round_name: str, subject: str) -> str:
    """Return the place for which an outcome is encoded: that of one round and subject."""
    return f"fleet:{round_name}:{subject}"


def write_request(codecs: Codecs, request: Request) -> bytes:
    """Encode *request*.

    Raises:
        NotEncodable: A parameter or an option cannot be encoded.
    """
    return codecs.encode((VERSION, type(request).__name__, _values(request)), REQUEST)


def read_request(codecs: Codecs, data: bytes) -> Request:
    """Return the request in *data*.

    Raises:
        FleetError: It cannot be read.
    """
    name, values = _open(codecs, data, REQUEST)
    match name:
        case "Begin":
            return _made(Begin, values)
        case "More":
            return _made(More, values)
        case _:
            return _made(Stop, values)


def write_reply(codecs: Codecs, reply: Reply) -> bytes:
    """Encode *reply*."""
    answers = tuple(_values(one) for one in reply.answers)
    return codecs.encode((VERSION, "Reply", (reply.state, answers, reply.why)), REPLY)


def read_reply(codecs: Codecs, data: bytes) -> Reply:
    """Return the reply in *data*.

    Raises:
        FleetError: It cannot be read.
    """
    _, values = _open(codecs, data, REPLY)
    reply = _made(Reply, values)
    answers = tuple(_made(Answered, cast("object", one)) for one in reply.answers)
    return Reply(reply.state, answers, reply.why)


def _values(message: attrs.AttrsInstance) -> tuple[object, ...]:
    return tuple(getattr(message, one.name) for one in attrs.fields(type(message)))


def _open(codecs: Codecs, data: bytes, place: str) -> tuple[str, object]:
    read = codecs.decode(data, place)
    match read:
        case Undecodable():
            msg = (
                f"a message of another process cannot be read: {read.reason.value} {read.detail}; "
                "caller and workers need the same versions, signing_key and encryption_key"
            )
        case (spoken, str() as kind, values) if spoken == VERSION:
            return kind, values
        case _:
            theirs = read[0] if isinstance(read, tuple) and read else "unknown"
            msg = (
                f"a message of another process is of version {theirs}, and this one speaks "
                f"{VERSION}; install the same everywhere"
            )
    raise FleetError(msg)


def _made(kind: type[T], values: object) -> T:
    if isinstance(values, tuple):
        try:
            return kind(*values)
        except TypeError:
            pass
    msg = "a message of another process is malformed; install the same versions everywhere"
    raise FleetError(msg)
