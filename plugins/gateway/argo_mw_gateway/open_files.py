"""The limit of open files: each connection takes one, and each request to a provider another."""

from __future__ import annotations

from typing import Final

from argo_mw.plugin import Log

_OTHERS: Final = 256
"""Files beside connections: databases, logs, connections to shared stores."""

log = Log("argo_mw")


def allow_files(connections: int) -> None:
    """Raise the limit for *connections* of clients, and one to a provider for each.

    Many systems allow 1,024 files or fewer until a process asks for more. A process that runs out
    accepts no more connections, so this warns if the limit cannot be raised.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    wanted = 2 * connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):
        allowed = soft
    if allowed < wanted:
        log.warning(
            "the gateway may run out of open files; raise the limit of the system, such as by "
            "LimitNOFILE of its unit, or lower max_connections",
            allowed=allowed,
            wanted=wanted,
        )
