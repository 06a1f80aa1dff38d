"""One question, asked by every caller of every process at once: one load, whatever befalls it."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field

from argo_mw_redis.testing import servers

PROGRAM = Path(__file__).with_name("member.py")
CALLERS = 200
LEASE_TTL = 2.0
TIMEOUT = 60.0
# A load that takes longer than the lease: its holder renews.
LONG = 1.5 * LEASE_TTL


@define(eq=False)
class Member:
    """A process; its lines are read as they come."""

    process: subprocess.Popen[str]
    lines: queue.Queue[tuple[Member, str]]
    reader: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def ask(self, symbol: str, takes: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{symbol} {takes}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put((self, line.strip()))


@define(eq=False)
class Answers:
    """What became of one question to all processes."""

    loads: int = 0
    answered: int = 0
    longest: float = 0.0
    loaders: set[int] = field(factory=set)


@define(eq=False)
class Group:
    """The processes that share a store."""

    store: str
    state: Path
    count: int
    lines: queue.Queue[tuple[Member, str]] = field(factory=queue.Queue)
    members: list[Member] = field(factory=list)

    def fill(self) -> None:
        """Start processes in place of those that were killed."""
        new = [self._start() for _ in range(self.count - len(self.members))]
        for _ in new:
            assert "ready" == self._next()[1]
        self.members += new

    def ask(
        self,
        symbol: str,
        *,
        takes: float,
        kill_holder: bool = False,
        freeze_holder: bool = False,
    ) -> Answers:
        """Ask all at once; the first process that loads may be killed at that moment.

        It may also be suspended, until all others are answered.
        """
        frozen: Member | None = None
        answers = Answers()
        waiting = set(self.members)
        for member in self.members:
            member.ask(symbol, takes)
        while waiting:
            if frozen is not None and waiting == {frozen}:
                frozen.process.send_signal(signal.SIGCONT)
            member, line = self._next()
            if line == "loading":
                answers.loads += 1
                if kill_holder:
                    kill_holder = False
                    member.end()
                    self.members.remove(member)
                    waiting.discard(member)
                if freeze_holder:
                    freeze_holder = False
                    member.process.send_signal(signal.SIGSTOP)
                    frozen = member
            elif member in waiting:
                _, answered, _, longest, *loaders = line.split()
                answers.answered += int(answered)
                answers.longest = max(answers.longest, float(longest))
                answers.loaders |= set(map(int, loaders))
                waiting.discard(member)
        return answers

    def end(self) -> None:
        for member in self.members:
            member.end()

    def _next(self) -> tuple[Member, str]:
        return self.lines.get(timeout=TIMEOUT)

    def _start(self) -> Member:
        words = [str(PROGRAM), self.store, str(self.state), str(CALLERS), str(LEASE_TTL)]
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return Member(process, self.lines)


@pytest.fixture(params=["redis", "sqlite"], scope="module")
def group(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Group]:
    """Eight processes on Redis, or two on the embedded store."""
    tmp_path = tmp_path_factory.mktemp("coalesce")
    with contextlib.ExitStack() as stack:
        if request.param == "redis":
            start = stack.enter_context(servers(tmp_path))
            group = Group(start().url, tmp_path / "state", 8)
        else:
            group = Group(f"sqlite:///{tmp_path / 'shared.db'}", tmp_path / "state", 2)
        stack.callback(group.end)
        group.fill()
        yield group


def test_a_question_that_all_callers_ask_is_loaded_once(group: Group) -> None:
    for number in range(5):
        answers = group.ask(f"ONCE{number}", takes=0.1)
        assert (1, group.count * CALLERS) == (answers.loads, answers.answered)


def test_a_load_that_outlasts_the_lease_is_the_only_one(group: Group) -> None:
    answers = group.ask("LONG", takes=LONG)
    assert (1, group.count * CALLERS) == (answers.loads, answers.answered)


def rounds_with_a_killed_holder(group: Group, rounds: int) -> list[Answers]:
    """In each, the process that loads is killed; the others are to make one load more."""
    found = []
    for number in range(rounds):
        found.append(group.ask(f"KILL{rounds}-{number}", takes=0.1, kill_holder=True))
        group.fill()
    return found


def test_a_holder_that_is_killed_is_replaced_by_one(group: Group) -> None:
    for answers in rounds_with_a_killed_holder(group, 2):
        assert (2, (group.count - 1) * CALLERS) == (answers.loads, answers.answered)


def test_a_holder_that_was_suspended_beyond_its_lease_replaces_no_newer_answer(
    group: Group,
) -> None:
    answers = group.ask("STOP", takes=1.0, freeze_holder=True)
    assert (2, group.count * CALLERS) == (answers.loads, answers.answered)
    assert 1 == len(answers.loaders)  # it takes the newer one itself
    group.members.pop().end()
    group.fill()  # with a process that has nothing in its memory
    later = group.ask("STOP", takes=1.0)
    assert (0, answers.loaders) == (later.loads, later.loaders)


@pytest.mark.soak
def test_fifty_holders_that_are_killed_are_each_replaced_within_the_lease(group: Group) -> None:
    for answers in rounds_with_a_killed_holder(group, 50):
        assert (2, (group.count - 1) * CALLERS) == (answers.loads, answers.answered)
        assert answers.longest < LEASE_TTL + 1.0
