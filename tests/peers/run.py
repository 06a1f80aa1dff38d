"""The SDKs' own suites, with the chain in between: ``make peers``.

Each suite comes with the source distribution of the installed version. It is run bare, behind a
middleware that does nothing, behind the plugin (llm, or http for a client of an API), and behind that with
coalesce and cache. What passes behind the middleware that does nothing must pass behind the chain, but for
the tests in ``excepted.toml``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from mock_server import mock_server

HERE = Path(__file__).parent
MODES = ("bare", "nothing", "plugin", "all")
SDKS = ("anthropic", "openai", "coingecko_sdk")
_EARLY = {"anthropic": ["-p", "tests._alias_httpx"]}
_OF_ANSWERS = {
    "anthropic": ["test_messages.py", "beta/test_messages.py"],
    "openai": ["chat/test_completions.py"],
    "coingecko_sdk": [],
}
"""The tests of resources that ask for answers; those of all others need the providers' own mock."""
_SHARE = {
    "anthropic": [
        "tests/api_resources/test_messages.py",
        "tests/test_client.py",
        "tests/test_middleware.py",
        "tests/test_response.py",
        "tests/test_streaming.py",
    ],
    "openai": [
        "tests/api_resources/chat/test_completions.py",
        "tests/lib/chat",
        "tests/test_legacy_response.py",
        "tests/test_response.py",
        "tests/test_streaming.py",
    ],
    "coingecko_sdk": ["tests/test_client.py", "tests/test_response.py", "tests/test_streaming.py"],
}
"""What drop-ins meet most: two minutes."""
_TIMEOUT = 60
"""Seconds that a test may take."""

Outcomes = Mapping[str, str]


def main() -> int:
    """Run the suites; how many tests fail that must pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdk", choices=SDKS, action="append", help="only the suite of this SDK")
    parser.add_argument("--mode", choices=MODES, action="append", help="only these ways to run it")
    parser.add_argument("--share", action="store_true", help="the tests that drop-ins meet most")
    parser.add_argument("--into", type=Path, default=HERE.parents[1] / "build" / "peers")
    parser.add_argument("--jobs", default="2", help="processes at once")
    parser.add_argument("arguments", nargs="*", help="for pytest")
    options = parser.parse_args()
    modes = options.mode or (("nothing", "all") if options.share else MODES)
    with mock_server() as url:
        os.environ["TEST_API_BASE_URL"] = url
        return min(100, sum(compare(sdk, modes, options) for sdk in options.sdk or SDKS))


def compare(sdk: str, modes: Sequence[str], options: argparse.Namespace) -> int:
    """Run the suite of *sdk* in *modes*; return how many tests fail that must pass."""
    suite = unpacked(sdk, options.into)
    found: dict[str, Outcomes] = {}
    for mode in modes:
        found[mode] = run(sdk, suite, mode, options.jobs, selected(sdk, options))
        print(f"{sdk} {mode}: {summary(found[mode])}", flush=True)
    if "nothing" not in found:
        return 0
    failed = 0
    for mode in (mode for mode in modes if mode in ("plugin", "all")):
        broken = newly_failed(found["nothing"], found[mode])
        listed = excepted(sdk, mode)
        # Once more and alone: some of these tests fail by themselves on a busy machine.
        again = sorted(broken - listed)
        if again:
            broken &= listed | newly_failed(found["nothing"], run(sdk, suite, mode, "0", again))
        failed += report(mode, broken, listed, found[mode])
    return failed


def report(mode: str, broken: set[str], listed: set[str], through: Outcomes) -> int:
    """Print the tests that fail through the chain and pass without it; return how many."""
    for test in sorted(broken - listed):
        print(f"  {mode}: {test}")
    for test in sorted(test for test in listed & set(through) if test not in broken):
        print(f"  {mode}: is excepted, and passes here: {test}")
    return len(broken - listed)


def newly_failed(nothing: Outcomes, through: Outcomes) -> set[str]:
    """Return the tests that pass behind a middleware that does nothing, and not *through* the chain.

    A test that is not there failed with its process.
    """
    return {test for test, how in nothing.items() if how == "passed"} - {
        test for test, how in through.items() if how == "passed"
    }


def excepted(sdk: str, mode: str) -> set[str]:
    """Return the tests that send one request twice and count, with what layers share."""
    tables = tomllib.loads((HERE / "excepted.toml").read_text("utf-8"))
    return {test for one in tables.get(sdk, ()) if mode in one["modes"] for test in one["tests"]}


def run(sdk: str, suite: Path, mode: str, jobs: str, tests: Sequence[str]) -> Outcomes:
    """Run the suite of *sdk* in *mode*; return how each test went."""
    outcomes = suite.parent / f"{sdk}-{mode}.txt"
    outcomes.unlink(missing_ok=True)
    variables = {
        "ARGO_PEER": mode,
        "ARGO_PEER_SDK": sdk,
        "ARGO_PEER_OUTCOMES": str(outcomes),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "-o",
        "addopts=",
        *_EARLY.get(sdk, []),
    ]
    command += ["-p", "argo_peer", "-n", jobs, "--dist", "worksteal", "--timeout", str(_TIMEOUT)]
    log = suite.parent / f"{sdk}-{mode}.log"
    with log.open("w") as output:
        subprocess.run(
            [*command, *tests],
            cwd=suite,
            env={**os.environ, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not outcomes.exists():
        sys.exit(f"{sdk} {mode}: no test was run; see {log}")
    lines = outcomes.read_text("utf-8").splitlines()
    return {test: how for how, _, test in (line.partition(" ") for line in lines)}


def unpacked(sdk: str, into: Path) -> Path:
    """Return the directory of the source distribution of the installed *sdk*."""
    release = f"{sdk}-{version(sdk)}"
    if not (into / release).exists():
        into.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
        ]
        command += ["-d", str(into), f"{sdk}=={version(sdk)}"]
        subprocess.run(command, check=True)
        with tarfile.open(into / f"{release}.tar.gz") as archive:
            archive.extractall(into, filter="data")
    return into / release


def selected(sdk: str, options: argparse.Namespace) -> Sequence[str]:
    """Return the tests that are run."""
    if options.arguments:
        return list(options.arguments)
    if options.share:
        return _SHARE[sdk]
    resources = [f"tests/api_resources/{name}" for name in _OF_ANSWERS[sdk]]
    return ["tests", "--ignore=tests/api_resources", *resources]


def summary(outcomes: Outcomes) -> str:
    """Return how many tests went how."""
    counts = {how: sum(one == how for one in outcomes.values()) for how in set(outcomes.values())}
    return ", ".join(f"{count} {how}" for how, count in sorted(counts.items(), reverse=True))


if __name__ == "__main__":
    sys.exit(main())
