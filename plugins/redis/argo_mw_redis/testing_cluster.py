"""A real Redis cluster for tests and benches, on free ports, without root.

::

    with cluster(tmp_path) as nodes:
        shared = await open_cluster(nodes.url)
        nodes.masters[0].kill()
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field

from argo_mw_redis.keys import SLOTS
from argo_mw_redis.testing import RealServer, StartServer, free_port, servers

_TIMEOUT: Final = 60.0
_PAUSE: Final = 0.02
_WHILE_MADE: Final = 500
"""The timeout of nodes at first, in milliseconds: the shorter it is, the sooner news spread."""


@define(eq=False)
class RealNode:
    """A node of a cluster.

    Attributes:
        server: Its process.
        bus: The port on which it speaks to the others.
        name: The name that the cluster knows it by.
    """

    server: RealServer
    bus: int
    name: str = ""

    def ask(self, *words: str) -> str:
        """Return the text of its reply, without the protocol's first byte and line end.

        Raises:
            RuntimeError: It answers with an error.
        """
        reply = self.server.command(*words).decode(errors="replace")
        if reply.startswith("-"):
            msg = f"{' '.join(words)}: {reply[1:].strip()}"
            raise RuntimeError(msg)
        body = reply.split("\r\n", 1)[1] if reply[:1] in "$*" else reply[1:]
        return body.strip()

    def kill(self) -> None:
        """Kill it, as ``kill -9`` does."""
        self.server.kill()

    def lose_replicas(self) -> None:
        """Let its replicas miss all writes from now on, as on a lagging network."""
        # On one connection: after the first command others need the password as well.
        commands = b"CONFIG SET requirepass of-no-replica\r\nCLIENT KILL TYPE replica\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as connection:
            connection.sendall(commands)
            replies = b""
            while replies.count(b"\r\n") < 2:
                replies += connection.recv(4096)

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self.server.process is not None and self.server.process.poll() is None


@define(eq=False)
class RealCluster:
    """A cluster of redis-server processes.

    Attributes:
        timeout: Milliseconds after which its nodes take a silent one for dead.
        options: Further arguments of each node's command line.
        password: The password with which this class sends commands, if its nodes ask for one.
        nodes: Its nodes, the first masters first.
    """

    _start: StartServer
    timeout: int = 500
    options: tuple[str, ...] = ()
    password: str = ""
    nodes: list[RealNode] = field(factory=list)

    @property
    def url(self) -> str:
        """The URL for clients: all nodes that run."""
        where = ",".join(f"127.0.0.1:{node.server.port}" for node in self.running)
        return f"redis+cluster://{where}"

    def url_of(self, user: str) -> str:
        """Return the URL for *user*, whom :meth:`allow` has made."""
        return self.url.replace("//", f"//{user}:{user}@")

    @property
    def running(self) -> list[RealNode]:
        """The nodes whose processes run."""
        return [node for node in self.nodes if node.runs]

    @property
    def masters(self) -> list[RealNode]:
        """The masters that run and have slots, as reported by one node."""
        names = {line[0] for line in self.table() if "master" in line[2] and len(line) > 8}
        return [node for node in self.running if node.name in names]

    def replicas_of(self, master: RealNode) -> list[RealNode]:
        """Return the replicas of *master* that run."""
        names = {line[0] for line in self.table() if line[3] == master.name}
        return [node for node in self.running if node.name in names]

    def catch_up(self, master: RealNode) -> None:
        """Return once the replicas of *master* have all its writes so far."""
        written = _offset(master, "master_repl_offset")
        until(
            lambda: all(
                _offset(one, "slave_repl_offset") >= written for one in self.replicas_of(master)
            ),
            f"the replicas of {master.name} do not have its last writes",
        )

    def table(self) -> list[list[str]]:
        """Return the ``CLUSTER NODES`` of one node."""
        text = self.running[0].ask("CLUSTER", "NODES")
        return [line.split() for line in text.splitlines() if line]

    def owner(self, slot: int) -> RealNode:
        """Return the master that reports that it has *slot* itself.

        Raises:
            TimeoutError: None or several say so.
        """
        until(lambda: len(self._claim(slot)) == 1, f"not one master has slot {slot}")
        return self._claim(slot)[0]

    def _claim(self, slot: int) -> list[RealNode]:
        return [
            node
            for node in self.running
            for line in self._told(node)
            if "myself,master" in line[2] and _has(line[8:], slot)
        ]

    def allow(self, user: str, rules: str) -> None:
        """Let *user*, with its name as its password, do what *rules* say, on all nodes."""
        for node in self.running:
            node.server.allow(user, rules)

    # -- making it -----------------------------------------------------------------------

    def create(self, masters: int, replicas: int) -> None:
        """Start *masters* nodes, each with *replicas*, and share the slots among them."""
        first = [self.launch() for _ in range(masters)]
        others = [self.launch() for _ in range(masters * replicas)]
        for number, node in enumerate(first):
            low, high = SLOTS * number // masters, SLOTS * (number + 1) // masters - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(low), str(high))
        for node in self.nodes[1:]:
            self._meet(node)
        until(self._all_know_all, "the nodes do not know each other")
        for number, node in enumerate(others):
            node.ask("CLUSTER", "REPLICATE", first[number % masters].name)
        until(self.is_well, "the cluster is not well")
        for node in self.nodes:
            node.ask("CONFIG", "SET", "cluster-node-timeout", str(self.timeout))

    def launch(self) -> RealNode:
        """Start a node that no other knows."""
        bus = free_port()
        number = len(self.nodes)
        server = self._start(
            *("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{number}.conf"),
            *("--cluster-node-timeout", str(_WHILE_MADE), "--cluster-port", str(bus)),
            *("--cluster-require-full-coverage", "no", "--dbfilename", f"dump-{number}.rdb"),
            *("--repl-diskless-sync-delay", "0", *self.options),
        )
        server.password = self.password
        node = RealNode(server, bus)
        node.name = node.ask("CLUSTER", "MYID")
        self.nodes.append(node)
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(len(self.nodes)))
        return node

    def add_master(self) -> RealNode:
        """Start a node, and let the others know it; it has no slots."""
        node = self.launch()
        self._meet(node)
        until(self._all_know_all, "the nodes do not know each other")
        until(self.is_well, "the cluster is not well")
        node.ask("CONFIG", "SET", "cluster-node-timeout", str(self.timeout))
        return node

    def remove(self, node: RealNode) -> None:
        """Let the cluster forget *node*, which has no slots, and end it."""
        for one in self.running:
            if one is not node:
                one.ask("CLUSTER", "FORGET", node.name)
        node.kill()

    def move(self, slots: Sequence[int], target: RealNode) -> None:
        """Move *slots*, and what they hold, to the master *target*."""
        for slot in slots:
            self._move(slot, self.owner(slot), target)

    def _move(self, slot: int, source: RealNode, target: RealNode) -> None:
        if source is target:
            return
        target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", source.name)
        source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target.name)
        while int(source.ask("CLUSTER", "COUNTKEYSINSLOT", str(slot))):
            words = source.server.command("CLUSTER", "GETKEYSINSLOT", str(slot), "100")
            keys = [word.decode() for word in words.split(b"\r\n")[2::2]]
            where = ("127.0.0.1", str(target.server.port))
            source.ask("MIGRATE", *where, "", "0", "5000", "KEYS", *keys)
        for node in (target, source, *self.masters):
            with contextlib.suppress(RuntimeError):  # one that has just become a replica
                node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", target.name)
        # A slot that comes back before all nodes know that it left gets an epoch that another node
        # has too. Redis then takes it from one of them, and deletes what is in it.
        until(self._all_know_the_epochs, "the nodes do not know each other's epochs")

    # -- how it is -----------------------------------------------------------------------

    def is_well(self) -> bool:
        """Return whether all slots are served, and replicas follow their masters."""
        return all(
            "cluster_state:ok" in node.ask("CLUSTER", "INFO")
            and "master_link_status:down" not in node.ask("INFO", "replication")
            and self._roles(node) == self._roles(self.running[0])
            for node in self.running
        )

    def _roles(self, node: RealNode) -> set[tuple[str, str]]:
        """Return each node that *node* knows, with the master that it follows, if any."""
        return {(line[0], line[3]) for line in self._told(node)}

    def _all_know_the_epochs(self) -> bool:
        """Return whether each master with slots has an epoch of its own, which all know."""
        known = [
            {line[0]: line[6] for line in self._told(node) if line[8:] and "master" in line[2]}
            for node in self.running
        ]
        epochs = known[0].values()
        return all(one == known[0] for one in known) and len(set(epochs)) == len(epochs)

    def _meet(self, node: RealNode) -> None:
        where = ("127.0.0.1", str(node.server.port), str(node.bus))
        self.running[0].ask("CLUSTER", "MEET", *where)

    def _all_know_all(self) -> bool:
        running = self.running
        return all(
            {node.name for node in running}
            <= {line[0] for line in self._told(one) if "handshake" not in line[2]}
            for one in running
        )

    def _told(self, node: RealNode) -> list[list[str]]:
        return [line.split() for line in node.ask("CLUSTER", "NODES").splitlines() if line]


def _offset(node: RealNode, name: str) -> int:
    """Return the offset *name* of *node* in its stream of replication, in bytes."""
    lines = (line.partition(":") for line in node.ask("INFO", "replication").splitlines())
    return next(int(value) for key, _, value in lines if key == name)


def _has(ranges: Sequence[str], slot: int) -> bool:
    """Return whether *slot* is in *ranges*, as ``CLUSTER NODES`` writes them."""
    pairs = (one.partition("-") for one in ranges if not one.startswith("["))
    return any(int(first) <= slot <= int(last or first) for first, _, last in pairs)


def until(condition: Callable[[], bool], what: str, timeout: float = _TIMEOUT) -> None:
    """Return once *condition* holds.

    Raises:
        TimeoutError: It does not hold within *timeout* seconds; the message is *what*.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(_PAUSE)


@contextlib.contextmanager
def cluster(
    directory: Path,
    *options: str,
    masters: int = 3,
    replicas: int = 1,
    timeout: int = 500,
    password: str = "",
) -> Iterator[RealCluster]:
    """Start a cluster that keeps its files in *directory*; kill its nodes at the end.

    Args:
        directory: Where its files are.
        options: Further arguments of each node's command line.
        masters: How many masters it has.
        replicas: How many replicas each master has.
        timeout: Milliseconds after which a silent node is taken for dead.
        password: The password that *options* set, if they set one.
    """
    directory.mkdir(exist_ok=True)
    with servers(directory) as start:
        made = RealCluster(start, timeout, options, password)
        made.create(masters, replicas)
        yield made
