"""The proxies that are compared, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from attrs import frozen

LITELLM = "litellm[proxy]==1.94.0"
ENVIRONMENT = Path(".venv-litellm")
START = 120.0


@frozen
class Proxy:
    """A proxy that runs.

    Attributes:
        url: Where it listens.
        key: What it is asked with.
        pid: Its process.
    """

    url: str
    key: str
    pid: int

    @property
    def cpu(self) -> float:
        """The seconds of CPU that it has used."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def memory(self) -> int:
        """The bytes of memory that it holds."""
        return int(psutil.Process(self.pid).memory_info().rss)


@contextlib.contextmanager
def bare(upstream: str) -> Iterator[Proxy]:
    """A proxy that does nothing."""
    command = [sys.executable, "-m", "tests.bench.gateway_stage.bare", upstream]
    with _running(command, {}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Proxy(process.stdout.readline().strip(), "bench-key", process.pid)


@contextlib.contextmanager
def gateway(urls: Mapping[str, str], folder: Path, tables: str = "") -> Iterator[Proxy]:
    """A gateway before the providers at *urls*, with its state in *folder*, configured by *tables*."""
    providers = [
        f'[plugins.llm.providers.{name}]\nurl = "{url}"\nkey = "sk-bench-0123456789"\n'
        f"[upstreams.{name}]\nper_minute = 0\nconcurrency = 0\n"
        for name, url in urls.items()
    ]
    used = ("cache", "coalesce", "llm", "gateway", "adaptive_ttl")
    plugins = Path("plugins").iterdir()
    others = sorted(one.name for one in plugins if one.is_dir() and one.name not in used)
    block = f"[argo]\nblock = {others}\nshared = 'memory://'\n"
    (folder / "argo.toml").write_text(block + "\n".join([*providers, tables]))
    environment = {"ARGO_MW_STATE_DIR": str(folder)}
    argo = [sys.executable, "-m", "argo_mw", "--config", str(folder / "argo.toml"), "gateway"]
    made = subprocess.run(
        [*argo, "keys", "create", "bench"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    with _running([*argo, "--port", "0"], environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "listens at" in line:
                yield Proxy(line.split()[-1], made.stdout.strip(), process.pid)
                return
        raise RuntimeError("the gateway did not start")


@contextlib.contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[Proxy | str]:
    """LiteLLM's proxy in an environment of its own, or why there is none."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", LITELLM]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"{LITELLM} cannot be installed: {done.stderr.strip().splitlines()[-1][:200]}"
        return
    port = _free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n- model_name: claude-sonnet-5-5\n  litellm_params:\n"
        f"    model: anthropic/claude-sonnet-5-5\n    api_base: {upstream}\n    api_key: bench\n"
    )
    command = [str(ENVIRONMENT / "bin" / "litellm"), "--config", str(config), "--port", str(port)]
    quiet = subprocess.DEVNULL
    with _running(command, {}, stdout=quiet, stderr=quiet) as process:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + START
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health/liveliness", timeout=1)
                yield Proxy(url, "bench-key", process.pid)
                return
            time.sleep(0.5)
        yield f"{LITELLM} does not start"


@contextlib.contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], **streams: int
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, text=True, **streams)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
