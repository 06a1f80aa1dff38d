"""A process with the layer, which answers questions on standard input, line by line."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import argo_mw_redis.plugin as redis
from argo_mw import Argo
from argo_mw.plugin import hookimpl, operation
from argo_mw.testing import FakePlugin, Scripted
from argo_mw_similarity import SimilarityPlugin


@operation(name="ask", kind="llm")
def ask(prompt: str) -> object:
    """Ask a language model."""


@operation(name="view", kind="llm")
def view(template: str, *, slots: Mapping[str, object], tolerances: Mapping[str, str]) -> object:
    """A templated question."""


class Lengths:
    """An embedder to which texts of about the same length are about the same."""

    name = "lengths"
    model = "lengths-1"

    def load(self) -> None:
        """Nothing to load."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector for each text."""
        angles = np.array([len(text) / 100 for text in texts], np.float32)
        vectors = np.zeros((len(texts), 384), np.float32)
        vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
        return vectors


class Brings:
    """A plugin that brings the embedder."""

    @hookimpl(optionalhook=True)
    def similarity_embedders(self) -> Mapping[str, object]:
        return {"lengths": Lengths()}


async def main(url: str, name: str) -> None:
    """Answer each line of standard input, a JSON object of ``operation`` and its parameters."""
    model = Scripted("model", {"ask", "view"}, lambda _: f"of {name}", retries=0)
    config = {
        "argo": {"shared": url, "strict": True},
        "plugins": {"similarity": {"embedder": "lengths", "embed_timeout": 30.0}},
    }
    plugins = {
        "similarity": SimilarityPlugin,
        "brings": Brings(),
        "redis": redis,
        "asked": FakePlugin(operations=[ask, view], upstreams=[model]),
    }
    async with Argo.open(config, plugins=plugins, installed=False) as argo:
        while line := await asyncio.to_thread(sys.stdin.readline):
            question = json.loads(line)
            caller = argo.options(tenant=question.pop("tenant", None))
            outcome = await caller.outcome(question.pop("operation"), **question)
            served = "similarity" in outcome.via
            print(json.dumps([outcome.value, served, outcome.as_of]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
