"""A program of which is known what it executes, for the tests of the counting itself.

Usage: ``python -m tests.bench.instructions_stage.known``.
"""

from __future__ import annotations

import asyncio

from tests.bench._sections import even, section


async def main() -> None:
    """Do the same twice, then with one assignment more, and with one object more."""
    even()
    await section("turn", _turn)
    await section("again", _turn)
    await section("assignment", _with_an_assignment)
    await section("object", _with_an_object)


async def _turn() -> object:
    return None


async def _with_an_assignment() -> object:
    answer = None
    return answer  # noqa: RET504


async def _with_an_object() -> object:
    return object()  # of which Python keeps none for later


if __name__ == "__main__":
    asyncio.run(main())
