"""Answers and vectors live in the shared store: other processes find them there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from argo_mw_redis.testing import servers

PEER = Path(__file__).with_name("similarity_peer.py")


class Peer:
    """A process with the layer."""

    def __init__(self, url: str, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PEER), url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            text=True,
        )

    def ask(self, operation: str, **parameters: object) -> tuple[str, bool, float]:
        """The answer, whether the layer served it, and as of when it is."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"operation": operation, **parameters}) + "\n")
        self._process.stdin.flush()
        value, served, as_of = json.loads(self._process.stdout.readline())
        return value, served, as_of

    def end(self) -> None:
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """Start a redis-server for one test."""
    with servers(tmp_path) as start_server:
        yield start_server().url


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the processes meet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shared.db"
    return str(request.getfixturevalue("redis_url"))


@pytest.fixture
def start(url: str) -> Iterator[Callable[[str], Peer]]:
    """Starts processes that share a store."""
    peers: list[Peer] = []

    def started(name: str) -> Peer:
        peers.append(Peer(url, name))
        return peers[-1]

    yield started
    for peer in peers:
        peer.end()


def _view(price: float) -> dict[str, object]:
    tolerances = {"price": "10bp"}
    return {"template": "At {price}?", "slots": {"price": price}, "tolerances": tolerances}


def test_a_second_process_finds_answers_by_text_by_vector_and_by_slots(
    start: Callable[[str], Peer],
) -> None:
    first = start("first")
    answered = first.ask("ask", prompt="How do I buy bonds?")
    assert ("of first", False) == answered[:2]
    assert ("of first", False) == first.ask("view", **_view(100.0))[:2]
    second = start("second")
    assert ("of first", True) == second.ask("ask", prompt="How do I  buy bonds? ")[:2]
    assert ("of first", True, answered[2]) == second.ask("ask", prompt="How can I purchase bonds?")
    assert ("of first", True) == second.ask("view", **_view(100.05))[:2]
    assert ("of second", False) == second.ask("view", **_view(100.2))[:2]
    assert ("of second", False) == second.ask("ask", prompt="How do I sell bonds?")[:2]


def test_another_tenant_finds_nothing_in_another_process(start: Callable[[str], Peer]) -> None:
    first, second = start("first"), start("second")
    first.ask("ask", prompt="How do I buy bonds?", tenant="red")
    assert not second.ask("ask", prompt="How do I buy bonds?", tenant="blue")[1]
    assert second.ask("ask", prompt="How do I buy bonds?", tenant="red")[1]


def test_a_process_that_has_read_a_scope_hears_what_others_add_to_it(
    start: Callable[[str], Peer],
) -> None:
    first, second = start("first"), start("second")
    first.ask("ask", prompt="How do I buy bonds?")
    second.ask("ask", prompt="How do I buy bonds?")
    deadline = time.monotonic() + 60
    number, heard = 0, ""
    while heard != "of second":
        # News travel at their own pace: what is asked about is half as old as the whole loop.
        assert time.monotonic() < deadline
        number += 1
        second.ask("ask", prompt=f"What is bond {2 * number - 1}?")
        second.ask("ask", prompt=f"What is bond {2 * number}?")
        heard = first.ask("ask", prompt=f"What is bond {number}?")[0]
