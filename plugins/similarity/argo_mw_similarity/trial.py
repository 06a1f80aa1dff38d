"""Trials: what the layer would make of two prompts, by the layer's own steps."""

from __future__ import annotations

import asyncio
from pathlib import Path

from attrs import frozen

from argo_mw.plugin import Context
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.factory import embedder_of, from_plugins, policy_of
from argo_mw_similarity.language.lexicon import load, word_class
from argo_mw_similarity.language.reading import read
from argo_mw_similarity.language.text import flattened
from argo_mw_similarity.prompt import Prompts
from argo_mw_similarity.search.embedders import Embedder
from argo_mw_similarity.search.finder import not_compared


@frozen
class Trial:
    """What the layer would make of a prompt, where another has been answered.

    Attributes:
        policy: The policy's name.
        score: The cosine of the prompts, or ``None`` where they are not compared by vectors.
        serve: Whether the answer would be served.
        reasons: What speaks against it, as ``name: reason``.
        undecided: Whether a judge may be asked.
    """

    policy: str
    score: float | None = None
    serve: bool = False
    reasons: tuple[str, ...] = ()
    undecided: bool = False


async def tried(config: SimilarityConfig, context: Context, known: str, asked: str) -> Trial:
    """Return whether the answer to *known* would serve *asked*, both plain texts of one scope.

    Raises:
        ConfigError: There is no policy or no embedder of the configured name.
    """
    directories: tuple[Path, ...] = () if config.data is None else (config.data,)
    lexicon = await asyncio.to_thread(load, *directories)
    others = from_plugins(context, "similarity_policies", config=config, lexicon=lexicon)
    policy = policy_of(config, lexicon, others)
    if why := _kept_apart(known, asked, *directories):
        return Trial(policy.name, reasons=(why,))
    if flattened(known) == flattened(asked):
        return Trial(policy.name, 1.0, serve=True)
    for name, text in (("A", known), ("B", asked)):
        if why := not_compared(text):
            return Trial(policy.name, reasons=(f"length: {name} is {why}",))
    embedders = from_plugins(context, "similarity_embedders", config=config, context=context)
    one, other = read(known, lexicon), read(asked, lexicon)
    score = await _score(embedder_of(config, embedders), one.embedded, other.embedded)
    # Below the floor the layer asks no policy; what vetoes there are is shown all the same.
    judgement = policy.judge(other, one, 1.0 if score is None else max(score, policy.floor))
    if score is not None and score < policy.floor:
        low = f"score: below {policy.floor}"
        return Trial(policy.name, score, reasons=(low, *judgement.reasons))
    if score is None:
        missing = "score: without an embedder only equal texts are found"
        return Trial(policy.name, reasons=(*judgement.reasons, missing))
    return Trial(policy.name, score, judgement.serve, judgement.reasons, judgement.undecided)


def _kept_apart(known: str, asked: str, *directories: Path) -> str:
    """Return why no answer is kept for one of the prompts, or none looked up for the other."""
    prompts = Prompts(word_class("moment", *directories))
    if prompts.momentary(known):
        return "moment: the answer to A depends on when it is asked, so it is not kept"
    if prompts.momentary(asked):
        return "moment: the answer to B depends on when it is asked, so none is looked up"
    return ""


async def _score(embedder: Embedder | None, known: str, asked: str) -> float | None:
    if embedder is None:
        return None
    await asyncio.to_thread(embedder.load)
    vectors = await asyncio.to_thread(embedder.embed, [known, asked])
    return float(vectors[0] @ vectors[1])
