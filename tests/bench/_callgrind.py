"""Counts the instructions that one turn of some work executes, with valgrind's callgrind.

Counts do not depend on what else the machine does, but on everything in the process. So what is not
the turn's own is left out: other threads, garbage collections and dice (:mod:`tests.bench._sections`),
and what the allocator spends on its pools, whose state depends on every object that was ever made.
How often memory is asked for and given back is counted by itself instead.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from tests.bench._sections import BETWEEN

MARK = "getloadavg"
"""The function of the C library at which one account ends and the next begins."""

_PYTHONS = ("_PyObject_Malloc", "_PyObject_Calloc", "_PyObject_Realloc", "_PyObject_Free")
_ALLOCATOR = frozenset(
    (
        *_PYTHONS,
        *("new_arena", "arena_map_get", "arena_map_mark_used", "allocate_from_new_pool"),
        *("insert_to_usedpool", "insert_to_freepool", "pymalloc_alloc", "pymalloc_free"),
        *("malloc", "calloc", "realloc", "free", "_int_malloc", "_int_realloc", "_int_free"),
        *("malloc_consolidate", "unlink_chunk", "sysmalloc", "systrim", "_int_free_create_chunk"),
    )
)


class CannotCount(Exception):
    """Instructions cannot be counted here; it says why."""


@frozen
class Turn:
    """What one turn executes.

    Attributes:
        instructions: The median over sections, without those of the allocator.
        spread: By how much sections differ.
        memory: How often memory is asked for or given back.
    """

    instructions: float
    spread: float
    memory: float


@frozen
class _Account:
    """What the main thread did in one section: instructions, and calls of Python's allocator."""

    instructions: int
    memory: int


async def count(module: str, *words: str) -> Mapping[str, Turn]:
    """Run *module* with *words* under callgrind, and return what a turn of each of its sections executes.

    Raises:
        CannotCount: valgrind is not installed, or does not see the functions of Python.
        RuntimeError: The program failed.
    """
    if shutil.which("valgrind") is None:
        msg = "valgrind is not installed (Debian's package valgrind)"
        raise CannotCount(msg)
    with tempfile.TemporaryDirectory() as folder:
        said = await _run(folder, module, words)
        accounts = [_read(Path(folder, f"out.{n}-01")) for n in range(1, len(said) + 1)]
    taken: dict[str, list[tuple[_Account, int]]] = defaultdict(list)
    for (name, turns), account in zip(said, accounts, strict=True):
        if name != BETWEEN:
            taken[name].append((account, turns))
    return {name: _turn(found) for name, found in taken.items()}


async def _run(folder: str, module: str, words: Iterable[str]) -> list[tuple[str, int]]:
    """Run the program; return the name of each account, and its turns."""
    program = await asyncio.create_subprocess_exec(
        "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
        "--separate-threads=yes", f"--dump-before={MARK}",
        "--compress-strings=no", "--compress-pos=no",
        sys.executable, "-m", module, *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0", "ARGO_MW_STATE_DIR": f"{folder}/state"},
    )  # fmt: skip
    said, trouble = await program.communicate()
    if program.returncode:
        raise RuntimeError(trouble.decode(errors="replace")[-2_000:])
    lines = [line.rpartition(" ") for line in said.decode().splitlines()]
    return [(name, int(turns)) for name, _, turns in lines]


def _turn(found: Sequence[tuple[_Account, int]]) -> Turn:
    each = [account.instructions / turns for account, turns in found]
    return Turn(
        instructions=statistics.median(each),
        spread=max(each) - min(each),
        memory=statistics.median(account.memory / turns for account, turns in found),
    )


def _read(file: Path) -> _Account:
    """Return what stands in a profile of callgrind.

    Raises:
        CannotCount: Python's functions have no names in it.
    """
    total = spent = memory = 0
    names: set[str] = set()
    of_allocator = of_call = False
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("fn="):
                name = _function(line)
                names.add(name)
                of_allocator = name in _ALLOCATOR
            elif line.startswith("cfn="):
                called = _function(line)
            elif line.startswith("calls="):
                of_call = True  # the next line is the cost of what was called, counted there
                if called in _PYTHONS:
                    memory += int(line[6:].split()[0])
            elif line.startswith("totals:"):
                total = int(line.split()[1])
            elif line[:1].isdigit():
                if of_allocator and not of_call:
                    spent += int(line.split()[1])
                of_call = False
    if "_PyEval_EvalFrameDefault" in names and names.isdisjoint(_PYTHONS):
        msg = f"{sys.executable} was built without the names of its functions"
        raise CannotCount(msg)
    return _Account(total - spent, memory)


def _function(line: str) -> str:
    """Return the function's name, without what tells recursions and clones apart."""
    return line.partition("=")[2].strip().partition("'")[0].partition(".")[0]
