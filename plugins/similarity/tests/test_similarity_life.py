"""The layer loads its model before it serves, shares it across reloads, and releases it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from argo_mw import Argo, PluginError
from argo_mw.plugin import Trouble, context_of, hookimpl, layers_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, capture_events, settle
from argo_mw_similarity import SimilarityPlugin
from argo_mw_similarity.layer import Similarity

LONGER_THAN_ANY_CALL = 120.0


@operation(name="ask", kind="llm", timeout=30.0)
def ask(prompt: str) -> object:
    """Ask a language model."""


class Uniform:
    """An embedder that gives all texts the same vector and counts how often it is loaded."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.model = f"{name}-1"
        self.loads = 0
        self._error = error

    def load(self) -> None:
        self.loads += 1
        if self._error is not None:
            raise self._error

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), 384), np.float32)
        vectors[:, 0] = 1.0
        return vectors


class Brings:
    """A plugin that registers embedders."""

    def __init__(self, *embedders: Uniform) -> None:
        self._embedders = {embedder.name: embedder for embedder in embedders}

    @hookimpl(optionalhook=True)
    def similarity_embedders(self) -> Mapping[str, Uniform]:
        return self._embedders


def _config(embedder: str, **table: object) -> dict[str, object]:
    return {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"similarity": {"embedder": embedder, **table}},
    }


def _open(config: dict[str, object], *embedders: Uniform, clock: FakeClock | None = None) -> Argo:
    model = Scripted("model", {"ask"}, lambda _: "answer", retries=0)
    return Argo.open(
        config,
        clock=clock or FakeClock(),
        plugins={
            "similarity": SimilarityPlugin,
            "brings": Brings(*embedders),
            "asked": FakePlugin(operations=[ask], upstreams=[model]),
        },
        installed=False,
    )


def _layer(argo: Argo) -> Similarity:
    (layer,) = layers_of(argo)
    assert isinstance(layer.middleware, Similarity)
    return layer.middleware


def _threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("argo-mw-embedder")]


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> object:
    before = _threads()
    yield
    assert before == _threads()


async def _serves_equivalent(argo: Argo) -> bool:
    await argo.call("ask", prompt="How do I buy bonds?")
    served = await argo.outcome("ask", prompt="How can I purchase bonds?")
    return "similarity" in served.via


async def test_closing_the_application_ends_the_thread_and_the_subscription() -> None:
    argo = _open(_config("one"), Uniform("one"))
    async with argo:
        assert await _serves_equivalent(argo)
        assert 1 == len(_threads())
        layer = _layer(argo)
        assert layer._store._subscription is not None
    assert [] == _threads()
    assert layer._store._subscription is None


async def test_a_closed_store_does_not_subscribe_again() -> None:
    async with _open(_config("none")) as argo:
        await argo.call("ask", prompt="What is a put?")
        store = _layer(argo)._store
        await store.close()
        await store.scope("any")
        assert store._subscription is None


async def test_a_reload_with_the_same_embedder_does_not_load_its_model_again() -> None:
    one = Uniform("one")
    clock = FakeClock()
    async with _open(_config("one"), one, clock=clock) as argo:
        before = _layer(argo)
        await argo.reload(_config("one", floor=0.6))
        assert before is not _layer(argo)
        await clock.advance(LONGER_THAN_ANY_CALL)
        await settle()
        assert await _serves_equivalent(argo)
        assert (1, 1) == (one.loads, len(_threads()))


async def test_a_reload_loads_another_embedder_before_it_serves_and_releases_the_old_one() -> None:
    one, two = Uniform("one"), Uniform("two")
    clock = FakeClock()
    async with _open(_config("one"), one, two, clock=clock) as argo:
        await argo.reload(_config("two"))
        assert (1, 1) == (one.loads, two.loads)
        assert await _serves_equivalent(argo)
        assert 2 == len(_threads())
        await clock.advance(LONGER_THAN_ANY_CALL)
        async with asyncio.timeout(30.0):
            while len(_threads()) > 1:
                await settle()
        assert await _serves_equivalent(argo)


async def test_answers_are_still_known_after_a_reload() -> None:
    async with _open(_config("one"), Uniform("one")) as argo:
        await argo.call("ask", prompt="How do I buy bonds?")
        await argo.reload(_config("one", floor=0.6))
        served = await argo.outcome("ask", prompt="How can I purchase bonds?")
        assert "similarity" in served.via


async def test_a_model_that_cannot_be_loaded_leaves_equal_texts() -> None:
    argo = _open(_config("one"), Uniform("one", OSError("no such file")))
    events = capture_events(argo)
    async with argo:
        assert not await _serves_equivalent(argo)
        again = await argo.outcome("ask", prompt="How do I buy bonds?")
        assert "similarity" in again.via
        assert [] == _threads()
    (trouble,) = events.of(Trouble)
    assert "only equal texts and slots are found: no such file" == trouble.what


async def test_an_unknown_policy_is_an_error_with_a_suggestion_and_leaves_no_thread() -> None:
    with pytest.raises(PluginError, match=r"'guardd', which does not exist: did you mean"):
        async with _open(_config("one", policy="guardd"), Uniform("one")):
            pass


async def test_background_tasks_of_the_layer_end_with_the_application() -> None:
    argo = _open(_config("one"), Uniform("one"))
    async with argo:
        assert await _serves_equivalent(argo)
        tasks = context_of(argo).tasks
    assert [] == list(tasks.names)
