"""An application with the layer, a model that is priced and takes its time, and a judge.

The judge's verdicts come from the labels of the pairs, but for one in a hundred, which is turned
round. Both take the time of a fake clock, so that a machine that is busy changes no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from argo_mw import Argo, Cost, Outcome
from argo_mw.plugin import Call, hookimpl, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_similarity import SimilarityPlugin
from argo_mw_similarity.search.embedders import Embedder
from tests.bench.similarity_stage.cases import Case

Vectors = NDArray[np.float32]
Judges = Callable[[str, str], bool]

NOISE = 0.01
MODEL_USD, MODEL_SECONDS = 0.01, 3.0
"""A thousand tokens in and three hundred out of a large model."""
JUDGE_USD, JUDGE_SECONDS = 0.0002, 0.4
"""Two hundred tokens in and ten out of a small one."""
FOR_EVER = 1e9


@operation(name="ask", kind="llm")
def ask(prompt: str, *, system: str = "") -> object:
    """Ask a language model."""


class Memo:
    """An embedder that has embedded all texts beforehand, in batches.

    Each text is asked about in two orders and under several policies.
    """

    name = "memo"

    def __init__(self, engine: Embedder, texts: Sequence[str]) -> None:
        self.model = engine.model
        self._engine = engine
        self._rows: dict[str, Vectors] = {}
        # Texts of about one length are embedded together: shorter ones are padded.
        ordered = sorted(set(texts), key=len)
        for first in range(0, len(ordered), 64):
            batch = ordered[first : first + 64]
            self._rows |= dict(zip(batch, engine.embed(batch), strict=True))

    def load(self) -> None:
        """Nothing to load."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a row for each of *texts*."""
        return np.array([self.row(text) for text in texts], np.float32)

    def row(self, text: str) -> Vectors:
        """Return the vector of *text*."""
        if text not in self._rows:
            self._rows[text] = self._engine.embed([text])[0]
        return self._rows[text]


def labelled(cases: Sequence[Case], same: Callable[[str, str], bool]) -> Judges:
    """A judge that knows the labels of *cases*, and what is the *same* beyond; 1 % of it wrong."""
    known = {case.pair: case.same for case in cases}

    def judges(a: str, b: str) -> bool:
        pair = frozenset((a, b))
        right = known[pair] if pair in known else same(a, b)
        return right != _is_noise(pair)

    return judges


def says_yes(a: str, b: str) -> bool:
    """A judge that always says yes."""
    return True


@frozen(eq=False)
class Desk:
    """One application.

    Attributes:
        argo: The application.
        model: Answers prompts.
        judge: Answers whether two are the same.
    """

    argo: Argo
    model: Scripted
    judge: Scripted

    @classmethod
    def open(
        cls,
        embedder: Embedder | str,
        judges: Judges = says_yes,
        answers: Callable[[str], str] = str,
        clock: FakeClock | None = None,
        **config: object,
    ) -> Desk:
        """Return an application that is not open yet.

        Args:
            embedder: The embedder, or the name of one.
            judges: The judge's verdict on two prompts.
            answers: The model's answer to a prompt; by default the prompt itself.
            clock: The clock in which model and judge take their time; by default the machine's,
                in which they take none.
            config: The table of the plugin.
        """

        def answered(call: Call) -> Outcome:
            return _take(clock, MODEL_SECONDS, answers(str(call.parameters["prompt"])), MODEL_USD)

        def judged(call: Call) -> Outcome:
            same = judges(str(call.parameters["known"]), str(call.parameters["asked"]))
            return _take(clock, JUDGE_SECONDS, {"same": same}, JUDGE_USD)

        model = Scripted("model", {"ask"}, answered)
        judge = Scripted("judge", {"same_question"}, judged)
        named = embedder if isinstance(embedder, str) else embedder.name
        table = {"embedder": named, "embed_timeout": 600.0, "max_audited": 0, "ttl": FOR_EVER}
        argo = Argo.open(
            {
                "argo": {"shared": "memory://", "strict": True, "counters_every": 0},
                "flags": {"similarity": "on"},
                "plugins": {"similarity": {**table, **config}},
            },
            clock=clock,
            plugins={
                "similarity": SimilarityPlugin,
                "brings": _Brings(embedder),
                "asked": FakePlugin(operations=[ask], upstreams=[model, judge]),
            },
            installed=False,
        )
        return cls(argo, model, judge)


class _Brings:
    """A plugin that brings the embedder."""

    def __init__(self, embedder: Embedder | str) -> None:
        self._embedder = embedder

    @hookimpl(optionalhook=True)
    def similarity_embedders(self) -> Mapping[str, Embedder]:
        embedder = self._embedder
        return {} if isinstance(embedder, str) else {embedder.name: embedder}


def _take(clock: FakeClock | None, seconds: float, value: object, usd: float) -> Outcome:
    if clock is not None:
        clock.stall(seconds)
    return Outcome(value, cost=Cost(usd=usd, requests=1.0))


def _is_noise(pair: frozenset[str]) -> bool:
    """Whether the judge is wrong about *pair*: the same pairs in every run, in either order."""
    digest = blake2b("\0".join(sorted(pair)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < NOISE * 2**64
