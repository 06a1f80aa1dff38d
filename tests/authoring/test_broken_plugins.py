"""A broken plugin never takes a call down, and ``argo-mw doctor`` names it.

The plugins are installed as pip would install them, and the command runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest

HEAD = "import asyncio\nfrom argo_mw.plugin import Layer, hookimpl, hookspec\n"

BROKEN = {
    "unimportable": "import no_such_module_anywhere\n",
    "wrong_hook": """
        @hookimpl
        def register_layers(colour): ...
        """,
    "wrong_answer": """
        @hookimpl
        def register_layers(): return ["a layer"]
        """,
    "raising": """
        async def raising(call, call_next):
            raise ValueError("before the call")

        @hookimpl
        def register_layers(): return [Layer("raising", raising)]
        """,
    "raising_late": """
        async def raising(call, call_next):
            await call_next(call)
            raise ValueError("after the call")

        @hookimpl
        def register_layers(): return [Layer("raising_late", raising)]
        """,
    "choosy": """
        async def through(call, call_next): return await call_next(call)

        def serves(operation): raise ValueError("while choosing")

        @hookimpl
        def register_layers(): return [Layer("choosy", through, serves=serves)]
        """,
    "hanging": """
        @hookimpl
        async def startup(): await asyncio.Event().wait()
        """,
    "hanging_at_the_end": """
        @hookimpl
        async def shutdown(): await asyncio.Event().wait()
        """,
    "leaking": """
        async def forever(): await asyncio.Event().wait()

        kept = []

        async def through(call, call_next):
            kept.append(asyncio.create_task(forever()))
            return await call_next(call)

        @hookimpl
        def register_layers(): return [Layer("leaking", through)]
        """,
}

PROGRAM = """
import asyncio

from argo_mw import Argo

argo = Argo.open("argo.toml")


@argo.wrap(name="quote")
async def quote(symbol: str) -> str:
    asked.append(symbol)
    return symbol


asked = []


async def main() -> None:
    async with argo:
        print("answer", await quote("AAPL"), len(asked))


asyncio.run(main())
"""

DOCTOR = "from argo_mw.cli.main import main; main()"


class Shop:
    """A directory with plugins installed in it, and a configuration that leaves others out."""

    def __init__(self, home: Path, plugins: Mapping[str, str]) -> None:
        self.home = home
        for name, code in plugins.items():
            (home / f"{name}_plugin.py").write_text(HEAD + textwrap.dedent(code))
            info = home / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[argo_mw]\n{name} = {name}_plugin\n")
        others = sorted({point.name for point in entry_points(group="argo_mw")})
        (home / "argo.toml").write_text(
            f'[argo]\nshared = "memory://"\nstartup_timeout = 0.2\nblock = {json.dumps(others)}\n'
        )

    def run(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "ARGO_MW_STATE_DIR": str(self.home / "state"),
            "PYTHONPATH": os.pathsep.join([str(self.home), os.environ.get("PYTHONPATH", "")]),
        }
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            cwd=self.home,
            env=environment,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("broken"), BROKEN)


@pytest.fixture(scope="module")
def findings(shop: Shop) -> list[dict[str, object]]:
    done = shop.run(DOCTOR, "doctor", "--json")
    assert done.returncode == 1, done.stderr
    return [one for one in json.loads(done.stdout) if not one["well"]]


def test_a_call_is_answered_once_in_spite_of_them_all(shop: Shop) -> None:
    done = shop.run(PROGRAM)
    assert done.returncode == 0, done.stderr
    assert "answer AAPL 1" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("plugin", "what", "found"),
    [
        (
            "unimportable",
            "import",
            "No module named 'no_such_module_anywhere'; fix it, upgrade it",
        ),
        ("wrong_hook", "hooks", "register_layers(config, context) is all there is"),
        (
            "wrong_answer",
            "register_layers",
            "it must return an iterable of argo_mw.plugin.Layer",
        ),
        (
            "raising",
            "layer",
            "ValueError: before the call; fix it, or `argo-mw flags kill raising`",
        ),
        ("raising_late", "layer", "ValueError: after the call; fix it, or `argo-mw flags kill"),
        ("choosy", "serves", "ValueError: while choosing; fix it, upgrade it, or name it under"),
        ("hanging", "startup", "TimeoutError: it took longer than 0.2 s"),
        ("hanging_at_the_end", "shutdown", "TimeoutError: it took longer than 0.2 s"),
        (
            "leaking",
            "tasks",
            "left a task behind that does not end: forever; start it with context",
        ),
    ],
)
def test_the_doctor_names_it(
    findings: list[dict[str, object]], plugin: str, what: str, found: str
) -> None:
    shown = [str(one["found"]) for one in findings if (one["where"], one["what"]) == (plugin, what)]
    assert shown, findings
    assert found in shown[0]


def test_what_the_doctor_says_is_shown_whole(shop: Shop) -> None:
    """Tables of the configuration stand in brackets, which are not a style."""
    shown = shop.run(DOCTOR, "doctor").stdout
    assert "[argo]" in shown
    assert "…" not in shown


def test_the_doctor_names_no_other_plugin(findings: list[dict[str, object]]) -> None:
    assert {one["where"] for one in findings} == set(BROKEN)


@pytest.mark.parametrize(
    ("find", "found"),
    [
        ("def find(self, call): raise ValueError('no')", "ValueError: no"),
        ("def find(self, call): return fail()", "ValueError: no"),
        ("def find(self, call): return 'AAPL'", "'looking' returned a str, not an Outcome"),
        ("def find(self, call): return answer()", "'looking' returned a str, not an Outcome"),
    ],
    ids=["raises", "raises_late", "returns", "returns_late"],
)
def test_a_find_that_fails_costs_no_answer_and_is_named(
    tmp_path: Path, find: str, found: str
) -> None:
    """In a chain of its own: a layer that must see answers pass would end the search before it."""
    code = f"""
        async def fail(): raise ValueError("no")

        async def answer(): return "AAPL"

        class Looking:
            async def __call__(self, call, call_next): return await call_next(call)

            {find}

        @hookimpl
        def register_layers(): return [Layer("looking", Looking())]
        """
    shop = Shop(tmp_path, {"looking": code})
    assert "answer AAPL 1" in shop.run(PROGRAM).stdout.splitlines()
    findings = json.loads(shop.run(DOCTOR, "doctor", "--json").stdout)
    [finding] = [one for one in findings if not one["well"]]
    assert ("looking", "layer") == (finding["where"], finding["what"])
    assert found in finding["found"]


HANGING = {
    "middleware": 'Layer("stuck", stuck)',
    "inner_middleware": 'Layer("stuck", stuck, after=("race",))',
    "find": 'Layer("stuck", Finding())',
}


@pytest.mark.parametrize("layer", HANGING.values(), ids=HANGING)
def test_the_doctor_names_a_layer_that_does_not_answer(tmp_path: Path, layer: str) -> None:
    """And only that one: those around it wait for it, but do not hang by themselves."""
    stuck = f"""
        async def stuck(call, call_next): await asyncio.Event().wait()

        async def hang(): await asyncio.Event().wait()

        class Finding:
            async def __call__(self, call, call_next): return await call_next(call)

            def find(self, call): return hang()

        @hookimpl
        def register_layers(): return [{layer}]
        """
    waiting = """
        flights = {}

        async def shared(call, call_next):
            flights[call.key] = asyncio.create_task(call_next(call))
            return await flights[call.key]

        @hookimpl
        def register_layers(): return [Layer("waiting", shared, slot="coalesce")]
        """
    program = f"from argo_mw.cli import doctor; doctor.TIMEOUT = 0.2; {DOCTOR}"
    done = Shop(tmp_path, {"stuck": stuck, "waiting": waiting}).run(program, "doctor", "--json")
    assert done.returncode == 1, done.stderr
    findings = {one["where"]: one["found"] for one in json.loads(done.stdout) if not one["well"]}
    assert {"stuck", "core"} == set(findings)
    assert findings["stuck"] == (
        "it does not answer, and calls wait for it until their deadline; fix it, or "
        "`argo-mw flags kill stuck`"
    )
    assert "not answered: DeadlineExceeded" in findings["core"]
