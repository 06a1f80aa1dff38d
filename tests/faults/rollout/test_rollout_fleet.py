"""Ramps in a fleet of real processes on a real Redis: what does harm is rolled back everywhere."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from argo_mw_redis.testing import RealServer, servers

pytestmark = pytest.mark.heavy

MEMBER = Path(__file__).with_name("member.py")
PATIENCE = 240.0
"""Seconds that a test waits: less than after which a test that hangs ends the run, on a busy machine."""

LONG = 900.0
"""The same of a soak, which nothing ends: a judge needs dozens of blocks that tell nothing of each other."""

INSTANCES = 3

PLAN = {
    "steps": ["25%", "50%", "on"],
    "at_least": "4s",
    "baseline": "6s",
    "warm_up": "1s",
    "min_blocks": 8,
    "signals": [],
}


class Process:
    """One process of the fleet."""

    def __init__(self, directory: Path, url: str, harm: str, plan: dict[str, object]) -> None:
        self.directory = directory
        self.settings = {
            "config": {
                "argo": {"shared": url, "state_dir": str(directory), "counters_every": 0.5},
                "flags": {"bold": "off"},
                "plugins": {
                    "rollout": {
                        "block": 1.0,
                        "every": 0.5,
                        "lease_ttl": 3.0,
                        "plans": {"bold": plan},
                    }
                },
            },
            "harm": harm,
            "symbols": 60,
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ARGO_MW")}
        self.process = subprocess.Popen(
            [sys.executable, str(MEMBER), json.dumps(self.settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, word: str = "look") -> dict[str, object]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"a process has ended with {self.process.wait()}"
        return json.loads(line)

    def kill(self) -> None:
        if self.process is not None:
            with self.process:
                self.process.kill()

    def end(self) -> None:
        assert self.process is not None
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


class Fleet(list[Process]):
    """The processes, and until when the test waits for them."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.deadline = time.monotonic() + patience


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RealServer]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with servers(directory) as start:
        yield start("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def fleet(
    tmp_path: Path, redis: RealServer, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Fleet]]:
    soak = request.node.get_closest_marker("soak") is not None
    started = Fleet(LONG if soak else PATIENCE)

    def start(*harms: str, **plan: object) -> Fleet:
        for number, harm in enumerate(harms):
            directory = tmp_path / f"machine{number}"
            directory.mkdir()
            process = Process(directory, redis.url, harm, {**PLAN, **plan})
            process.start()
            started.append(process)
        for process in started:
            process.ask()
        return started

    yield start
    for process in started:
        with contextlib.suppress(Exception):
            process.kill()


def wait_for(fleet: Fleet, condition: Callable[[dict[str, object]], bool]) -> list[dict]:
    """What all processes say once each meets *condition*."""
    while True:
        found = [process.ask() for process in fleet]
        if all(condition(one) for one in found):
            return found
        assert time.monotonic() < fleet.deadline, json.dumps(found, indent=1)[-6000:]
        time.sleep(0.3)


def entries(found: dict[str, object], what: str) -> list[list]:
    return [entry for entry in found["ramp"]["journal"] if entry[1] == what]


SLOWLY = pytest.mark.soak
"""What takes minutes: intervals of means need dozens of blocks, wrong answers do not."""


@pytest.mark.parametrize(
    "harm",
    ["corrupt", pytest.param("slow", marks=SLOWLY), pytest.param("fail", marks=SLOWLY)],
)
def test_a_layer_that_does_harm_is_rolled_back_in_the_whole_fleet_and_stays_so(
    fleet, harm: str
) -> None:
    members = fleet(*[harm] * INSTANCES)
    members[0].ask("start")
    found = wait_for(members, lambda one: bool(one["rolled_back"]))
    assert len(entries(found[0], "rolled back")) == 1
    assert found[0]["ramp"]["status"] == "rolled back"
    for member in members:
        member.end()
    for member in members:
        member.start()

    def serves_without_it(one: dict[str, object]) -> bool:
        assert one["shaped"] == 0
        return bool(one["rolled_back"]) and one["served"] > 0

    wait_for(members, serves_without_it)


@SLOWLY
def test_a_layer_that_does_harm_on_one_instance_is_rolled_back_on_all(fleet) -> None:
    members = fleet("corrupt", "", "")
    members[0].ask("start")
    wait_for(members, lambda one: bool(one["rolled_back"]))


def judge_of(fleet: Fleet) -> Process:
    """The process that holds the lease."""
    while time.monotonic() < fleet.deadline:
        for process in fleet:
            if process.ask()["judges"]:
                return process
        time.sleep(0.2)
    raise AssertionError("no process judges")


def test_a_judge_that_is_killed_twice_leaves_the_same_verdict_to_the_next(fleet) -> None:
    members = fleet(*["corrupt"] * INSTANCES)
    members[0].ask("start")
    first = judge_of(members)
    first.kill()
    first.start()
    wait_for(members, lambda one: one["ramp"].get("step") == "25%" or bool(one["rolled_back"]))
    second = judge_of(members)
    second.kill()
    second.start()
    found = wait_for(members, lambda one: bool(one["rolled_back"]))
    assert [entry[2].partition(":")[0] for entry in entries(found[0], "step")] == ["25%"]
    assert len(entries(found[0], "rolled back")) == 1
    assert found[0]["ramp"]["status"] == "rolled back"


@SLOWLY
def test_while_redis_is_away_a_ramp_holds_and_then_goes_on(fleet, redis: RealServer) -> None:
    members = fleet(*["corrupt"] * INSTANCES, baseline="20s")
    members[0].ask("start")
    time.sleep(5.0)
    redis.kill()
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        for one in [member.ask() for member in members]:
            assert (one["state"], one["percent"], one["shaped"]) == ("off", None, 0)
            assert "away" in one["ramp"]
        time.sleep(2.0)
    assert all(member.ask()["served"] for member in members)
    redis.start()
    wait_for(members, lambda one: bool(one["rolled_back"]))


@SLOWLY
def test_a_layer_that_does_no_harm_gets_all_steps_once(fleet) -> None:
    loose = {"errors": 0.2, "slow": 5.0, "slowest": 9.0, "requests": 2.0, "distance": 9.0}
    members = fleet("", "", "", guardrails={**loose, "wrong": 0.2, "usd": 9.0})
    members[0].ask("start")
    found = wait_for(members, lambda one: one["ramp"].get("status") == "done")
    assert [entry[2].partition(":")[0] for entry in entries(found[0], "step")] == PLAN["steps"]
    assert [one["state"] for one in found] == ["on"] * INSTANCES
