"""The ways in which a real Redis half works, and how each is begun and ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

from attrs import frozen

from argo_mw_redis.refusals import rights
from argo_mw_redis.testing import RealServer, free_port

TIMEOUT = 60.0
ALL = "~* &* +@all"
SAVING = ("--enable-protected-configs", "yes", "--save", "3600 1000000")
"""Options of a server on which each fault can be made."""


@frozen
class Fault:
    """How a server comes to refuse something, and gets well again.

    Attributes:
        begin: Makes it refuse.
        end: Makes it refuse nothing.
        remedy: Words of the trouble that say what to do.
        others_hear: Whether `invalidate` says that other processes hear of it.
        spares: Whether it spares what runs already, which notices nothing.
    """

    begin: Callable[[RealServer], object]
    end: Callable[[RealServer], object]
    remedy: str
    others_hear: bool = False
    spares: bool = False


def config(**options: str) -> Callable[[RealServer], object]:
    def change(server: RealServer) -> None:
        for name, value in options.items():
            reply = server.command("CONFIG", "SET", name.replace("_", "-"), value)
            assert b"+OK\r\n" == reply, reply

    return change


def user(rules: str) -> Callable[[RealServer], object]:
    return lambda server: server.allow("app", rules)


def fail_to_save(server: RealServer) -> None:
    (server.directory / "occupied").mkdir(exist_ok=True)
    config(dbfilename="occupied")(server)
    save_until(server, b"rdb_last_bgsave_status:err")


def save(server: RealServer) -> None:
    config(dbfilename="dump.rdb")(server)
    save_until(server, b"rdb_last_bgsave_status:ok")


def save_until(server: RealServer, status: bytes) -> None:
    deadline = time.monotonic() + TIMEOUT
    while status not in server.command("INFO", "persistence"):
        assert time.monotonic() < deadline
        server.command("BGSAVE")
        time.sleep(0.01)


def replica(server: RealServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", str(free_port()))


def master(server: RealServer) -> None:
    server.command("REPLICAOF", "NO", "ONE")


def keep_busy(server: RealServer) -> None:
    """Run a script without end, and return once it keeps the server from all else."""
    if b"-BUSY" in server.command("PING"):
        return
    config(busy_reply_threshold="1")(server)
    threading.Thread(target=run_for_ever, args=(server,), daemon=True).start()
    until_said(server, lambda said: b"-BUSY" in said)


def run_for_ever(server: RealServer) -> None:
    with contextlib.suppress(OSError):
        server.command("EVAL", "while true do end", "0")


def end_script(server: RealServer) -> None:
    server.command("SCRIPT", "KILL")
    until_said(server, lambda said: b"-BUSY" not in said)


def until_said(server: RealServer, condition: Callable[[bytes], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition(server.command("PING")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def acl(rules: str, *, others_hear: bool = False, spares: bool = False) -> Fault:
    return Fault(user(rules), user(ALL), f"ACL SETUSER … {rights('argo:')}", others_hear, spares)


FAULTS: Mapping[str, Fault] = {
    "it cannot save": Fault(fail_to_save, save, "stop-writes-on-bgsave-error"),
    "it is full": Fault(config(maxmemory="1"), config(maxmemory="0"), "raise maxmemory"),
    "it is a replica": Fault(replica, master, "name the master in the URL"),
    "it is busy with a script": Fault(keep_busy, end_script, "SCRIPT KILL"),
    "it has too few replicas": Fault(
        config(min_replicas_to_write="1"), config(min_replicas_to_write="0"), "bring them back"
    ),
    "a user that may not write": acl("~* &* +@all -@write"),
    "a user without channels": acl("~* resetchannels +@all"),
    "a user that may not subscribe": acl("~* &* +@all -subscribe", others_hear=True, spares=True),
    "a user that may not publish": acl("~* &* +@all -publish"),
    "a user without scripts": acl("~* &* +@all -@scripting", others_hear=True),
    "a user with keys of others": acl("~other:* &* +@all"),
}
