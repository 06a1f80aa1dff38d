"""Messages for refused commands: which command, why, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from redis.exceptions import AuthenticationError, ResponseError

_REMEDIES: Final[Mapping[str, str]] = {
    "MISCONF": "it cannot save its data: see its log and give its disk room, or set "
    "stop-writes-on-bgsave-error to no",
    "OOM": "it is full: raise maxmemory, or, if it counts no quotas, set maxmemory-policy to "
    "volatile-lru",
    "READONLY": "it is a replica: name the master in the URL, or the sentinels that know it",
    "NOREPLICAS": "too few replicas follow it: bring them back, or lower min-replicas-to-write",
    "CLUSTERDOWN": "a part of the cluster is away: bring its nodes back, or give masters replicas",
    "BUSY": "a script of another program keeps it busy: end that with SCRIPT KILL",
    **dict.fromkeys(
        ("CROSSSLOT", "MOVED", "ASK"),
        "it is a node of a cluster: begin the URL with redis+cluster:// and leave out the database",
    ),
}
_NO_COMMAND: Final = "unknown command"
_NO_CLUSTER: Final = "cluster support disabled"
_ARGUMENTS: Final = ", with args beginning with"
"""Where Redis begins to repeat the arguments of the command, which may hold keys and values."""
_START: Final = "start it, or correct the URL"
ANNOUNCED: Final = (
    "start it, or, if the cluster names an address that cannot be reached from here, set "
    "cluster-announce-ip there"
)
"""What to do about a node that is not in the URL."""
_OTHER_REMEDIES: Final[Mapping[str, str]] = {
    "max number of clients": "raise maxclients, or end other clients",
    "loading the dataset": "it can be used once it has loaded its data",
}
_SCRIPT: Final = re.compile(r",? script: [0-9a-f]{40}")
"""Where Redis begins to name the script and line of an error."""
_RIGHTS: Final = "~{prefix}* &{prefix}* +@read +@write +@scripting +@pubsub +time"
"""The rights that the user of a Redis server needs, in the syntax of ``ACL SETUSER``."""
_OF_A_CLUSTER: Final = " +cluster|info +cluster|slots +asking"
_ASKED_OF_NODES: Final = ("CLUSTER", "ASKING")


def rights(prefix: str) -> str:
    """Return the rights that a user needs with *prefix*, in the syntax of ``ACL SETUSER``."""
    return _RIGHTS.format(prefix=prefix)


def code_of(error: ResponseError) -> str:
    """Return the word with which Redis began *error*, such as ``NOPERM``."""
    return str(error.status_code or str(error).partition(" ")[0])


def refusal(command: str, error: ResponseError, prefix: str) -> str:
    """Return the message that Redis refused *command* with *error*, and what to do about it."""
    code = code_of(error)
    text = _SCRIPT.split(str(error))[0].partition(_ARGUMENTS)[0].partition(". ")[0].rstrip(". ")
    said = text if text.startswith(code) else f"{code} {text}"
    if code == "NOPERM" or "ACL failure" in text:
        needed = rights(prefix) + (_OF_A_CLUSTER if command in _ASKED_OF_NODES else "")
        remedy = f"grant its user what is needed: ACL SETUSER … {needed}"
    elif text.startswith(_NO_COMMAND):
        remedy = "it offers no such command: undo rename-command, or use a server that has it"
    elif _NO_CLUSTER in text:
        remedy = "it is not a node of a cluster: begin the URL with redis://"
    else:
        remedy = _REMEDIES.get(code, "")
    return f"Redis refused {command} ({said})" + (f"; {remedy}" if remedy else "")


def unreachable(error: Exception, *, prefix: str, escaped: bool, remedy: str = _START) -> str:
    """Return the message why a server cannot be used at all.

    Args:
        error: The error of connecting to it, or of a command.
        prefix: The beginning of every key.
        escaped: Whether the password in the URL has percent escapes.
        remedy: What to do if nothing more specific is known.
    """
    if isinstance(error, AuthenticationError):
        hint = "correct user and password in the URL"
        if escaped:
            hint = (
                "its %… was read as an escape, as in every URL: write a % that belongs to the "
                "password as %25"
            )
        return f"it refused the login ({str(error).rstrip('. ')}); {hint}"
    if isinstance(error, ResponseError) and code_of(error) in _REMEDIES:
        return refusal("SET", error, prefix).removeprefix("Redis ")
    why = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
    said = (why or type(error).__name__).rstrip(". ")
    known = (one for words, one in _OTHER_REMEDIES.items() if words in said)
    return f"{said}; {next(known, remedy)}"
