"""OpenAI's own tests of its API's resources, with the gateway in between: part of ``make peers``.

They ask a mock that is made from OpenAI's own specification of its API, as in OpenAI's own repository, and
that refuses what the specification does not allow. They are run straight against the mock, and through
``argo-mw gateway`` with coalesce and cache, with nothing but the base URL changed: once with the provider
named by the URL, once without. What passes straight must pass through the gateway, but for the tests in
``excepted.toml``.

The mock is Steady, from npm. The specification is that of the SDK's version, or, where its repository has
none, that of ``main``; ``--specification`` names a file in its place. Where one of them cannot be had, nothing
is run, and a line says why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from run import HERE, excepted, newly_failed, report, run, summary, unpacked

STEADY = "@stdy/cli@0.22.2"
SPECIFICATION = (
    "https://raw.githubusercontent.com/openai/openai-python/{at}/api_reference/"
    "openapi.transformed.yml"
)
TESTS = tuple(
    f"tests/api_resources/{name}"
    for name in (
        *("chat", "responses", "test_responses.py", "test_completions.py"),
        *("test_embeddings.py", "test_models.py", "test_moderations.py", "test_batches.py"),
    )
)
BASES = {"gateway-named": "/openai", "gateway": "/v1"}
"""The base URLs, by the names of the runs with them."""
_START = 60.0
_VALIDATED = ("query-array", "form-array", "query-object", "form-object")


class NotToBeHad(Exception):
    """What the tests need is not here, and cannot be fetched."""


def main() -> int:
    """Run the tests; how many fail that must pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--specification", type=Path, help="a file to make the mock from")
    parser.add_argument("--into", type=Path, default=HERE.parents[1] / "build" / "peers")
    parser.add_argument("--sdk", action="append", help="run nothing if only other SDKs are named")
    parser.add_argument("--share", action="store_true", help="answers of models alone")
    parser.add_argument("--jobs", default="2", help="processes at once")
    parser.add_argument("tests", nargs="*", help="for pytest")
    options, _ = parser.parse_known_args()
    if "openai" not in (options.sdk or ["openai"]):
        return 0
    options.tests = options.tests or (TESTS[:3] if options.share else TESTS)
    try:
        suite = unpacked("openai", options.into)
        specification = options.specification or fetched_specification(options.into)
        with mock(options.into, specification) as url:
            return min(100, compare(suite, url, options))
    except NotToBeHad as error:
        print(f"openai through the gateway: skipped, since {error}")
        return 0


def compare(suite: Path, url: str, options: argparse.Namespace) -> int:
    """Run the tests straight and through the gateway; return how many fail that must pass."""
    straight = asked_at(url, suite, "straight", options)
    failed = 0
    for mode, path in BASES.items():
        with gateway(url) as there:
            through = asked_at(there + path, suite, mode, options)
            broken, listed = newly_failed(straight, through), excepted("openai", mode)
        failed += report(mode, broken, listed, through)
    return failed


def asked_at(url: str, suite: Path, mode: str, options: argparse.Namespace) -> Mapping[str, str]:
    """Run the tests with their clients' base URL at *url*; return how each went."""
    os.environ["TEST_API_BASE_URL"] = url
    outcomes = run("openai", suite, mode, options.jobs, options.tests)
    print(f"openai {mode}: {summary(outcomes)}", flush=True)
    return outcomes


def fetched_specification(into: Path) -> Path:
    """Return the specification that the installed SDK was made from, fetched if need be.

    Raises:
        NotToBeHad: It cannot be fetched.
    """
    file = into / f"openai-{version('openai')}.yml"
    why: Exception | None = None
    for at in (f"v{version('openai')}", "main"):
        if file.exists():
            break
        try:
            with urllib.request.urlopen(SPECIFICATION.format(at=at), timeout=30) as response:
                content = response.read()
        except OSError as error:
            why = error
        else:
            file.write_bytes(content)
    if not file.exists():
        msg = f"OpenAI's specification cannot be fetched ({why}); name a copy with --specification"
        raise NotToBeHad(msg)
    return file


@contextlib.contextmanager
def mock(into: Path, specification: Path) -> Iterator[str]:
    """Serve what *specification* says, and give the address.

    Raises:
        NotToBeHad: The server cannot be installed, or does not start.
    """
    home = into / "steady"
    command = home / "node_modules" / ".bin" / "steady"
    if not command.exists():
        npm = shutil.which("npm")
        if npm is None:
            msg = "npm, which installs its mock, is not here"
            raise NotToBeHad(msg)
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}')
        install = [npm, "install", "--no-audit", "--no-fund", "--silent", STEADY]
        if subprocess.run(install, cwd=home, check=False).returncode:
            msg = f"npm cannot install {STEADY}"
            raise NotToBeHad(msg)
    port = _free_port()
    options = [f"--validator-{name}-format=brackets" for name in _VALIDATED]
    serve = [str(command), "--host", "127.0.0.1", "-p", str(port), *options, str(specification)]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log, _running(serve, log):
        if not _until(lambda: _answers(f"{url}/_x-steady/health")):
            log.seek(0)
            msg = f"its mock does not start: {log.read()[-300:]}"
            raise NotToBeHad(msg)
        yield url


@contextlib.contextmanager
def gateway(upstream: str) -> Iterator[str]:
    """Serve the gateway before *upstream*, and give the address."""
    with tempfile.TemporaryDirectory(prefix="argo-peer-") as folder:
        file = Path(folder, "argo.toml")
        file.write_text(
            '[argo]\nshared = "memory://"\n[plugins.gateway]\nclients = "anyone"\n'
            f'[plugins.llm.providers.openai]\nurl = "{upstream}"\nkey = "sk-peer-0123456789"\n'
            "[upstreams.openai]\nper_minute = 10000000\nconcurrency = 100000\n"
        )
        port = _free_port()
        serve = [sys.executable, "-m", "argo_mw", "--config", str(file), "gateway"]
        url = f"http://127.0.0.1:{port}"
        environment = {"ARGO_MW_STATE_DIR": folder}
        with tempfile.TemporaryFile("w+") as log:
            with _running([*serve, "--port", str(port)], log, environment):
                if not _until(lambda: _answers(f"{url}/readyz")):
                    log.seek(0)
                    sys.exit(f"the gateway does not start: {log.read()[-1000:]}")
                yield url


@contextlib.contextmanager
def _running(
    command: list[str], log: object, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=log,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + _START
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
