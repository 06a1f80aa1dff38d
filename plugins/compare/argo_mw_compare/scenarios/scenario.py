"""A scenario: a situation, once for the original service and once behind the chain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from attrs import evolve

from argo_mw_compare.scenarios.promise import Findings

Seen = TypeVar("Seen")


class Scenario(Protocol[Seen]):
    """A situation that some promises of the plan were made for.

    Its parameters come from the plan's words and are its fields, so that tests use small ones.
    """

    @property
    def name(self) -> str:
        """Its name on the command line and in the report."""

    @property
    def given(self) -> Sequence[str]:
        """Its parameters, each in a sentence."""

    async def before(self, folder: Path) -> Seen:
        """Return what was seen of the original service, whose files are in *folder*."""

    async def after(self, folder: Path) -> Seen:
        """Return what was seen of the same behind the chain."""

    def findings(self, before: Seen, after: Seen) -> Findings:
        """Return what came of the promises."""


async def _both(scenario: Scenario[Seen], folder: Path) -> Findings:
    seen = []
    for name, side in (("before", scenario.before), ("after", scenario.after)):
        own = folder / name
        own.mkdir(mode=0o700)
        seen.append(await side(own))
    return scenario.findings(*seen)


def measure(scenario: Scenario[Seen], folder: Path) -> Findings:
    """Run *scenario* with its files in *folder*, and return what it found."""
    began = time.monotonic()
    found = asyncio.run(_both(scenario, folder))
    return evolve(found, seconds=round(time.monotonic() - began, 1))
