"""``argo-mw similarity``: try a pair of prompts, review served answers."""

from __future__ import annotations

import asyncio
import datetime as dt

import click
from attrs import evolve
from rich.table import Table

from argo_mw.cli import console, print_json, say, with_argo
from argo_mw.plugin import Argo, config_of, context_of
from argo_mw_similarity.answer_store import AnswerStore
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.embedders import Embedder
from argo_mw_similarity.factory import embedder_of, from_plugins, policy_of
from argo_mw_similarity.lexicon import load
from argo_mw_similarity.policy import Judgement
from argo_mw_similarity.reading import read


@click.group()
def similarity() -> None:
    """Try what would be served, and review what was served."""


@similarity.command("try")
@click.argument("a")
@click.argument("b")
@click.option("--policy", default="", help="The policy to ask, by default the configured one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def try_(argo: Argo, a: str, b: str, policy: str, as_json: bool) -> None:
    """Print whether the answer to prompt A would serve prompt B: score, vetoes and verdict."""
    config = config_of(argo, SimilarityConfig)
    lexicon = await asyncio.to_thread(load, *([config.data] if config.data else []))
    policies = from_plugins(context_of(argo), "similarity_policies", config=config, lexicon=lexicon)
    judge = policy_of(config if not policy else _with_policy(config, policy), lexicon, policies)
    embedders = from_plugins(
        context_of(argo), "similarity_embedders", config=config, context=context_of(argo)
    )
    score = await _score(embedder_of(config, embedders), a, b)
    asked, known = read(b, lexicon), read(a, lexicon)
    judgement = judge.judge(asked, known, 1.0 if score is None else score)
    if score is None and asked.normal != known.normal:
        missing = "score: without an embedder only equal texts are found"
        judgement = Judgement(False, 0.0, (*judgement.reasons, missing))
    if as_json:
        print_json(
            {
                "score": score,
                "policy": judge.name,
                "serve": judgement.serve,
                "reasons": list(judgement.reasons),
            }
        )
        return
    _print(score, judge.name, judgement)


@similarity.command("audit")
@click.option("--wrong", metavar="ID", help="The answer was wrong: forget it, in every instance.")
@click.option("--right", metavar="ID", help="The answer was right: take it off the list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def audit(argo: Argo, wrong: str | None, right: str | None, as_json: bool) -> None:
    """List the last hits of all tenants, or review one: a wrong one is forgotten everywhere."""
    config = config_of(argo, SimilarityConfig)
    kept = Audit(context_of(argo), max_hits=config.max_audited)
    hits = await kept.hits()
    if wrong or right:
        hit = _chosen(hits, wrong or right or "")
        if wrong:
            store = AnswerStore(
                context_of(argo), max_per_scope=config.max_entries_per_scope, max_entries=1
            )
            await store.forget(hit.scope, hit.number)
            say(f"forgotten: the answer to {hit.known!r} is served no more")
        await kept.drop(hit)
        return
    if as_json:
        print_json([{"id": h.id, "at": h.at, "asked": h.asked, "served": h.known,
                     "score": h.score, "why": h.why} for h in hits])  # fmt: skip
        return
    table = Table("id", "when (UTC)", "score", "asked", "served the answer to", "why", box=None)
    for hit in hits:
        when = dt.datetime.fromtimestamp(hit.at, dt.UTC).strftime("%m-%d %H:%M:%S")
        table.add_row(hit.id, when, f"{hit.score:.3f}", hit.asked, hit.known, hit.why)
    console().print(table)


def _chosen(hits: list[ServedHit], wanted: str) -> ServedHit:
    for hit in hits:
        if hit.id == wanted:
            return hit
    msg = f"there is no hit {wanted!r}: 'argo-mw similarity audit' lists the hits"
    raise click.ClickException(msg)


def _with_policy(config: SimilarityConfig, policy: str) -> SimilarityConfig:
    return evolve(config, policy=policy)


async def _score(embedder: Embedder | None, a: str, b: str) -> float | None:
    if embedder is None:
        return None
    await asyncio.to_thread(embedder.load)
    vectors = await asyncio.to_thread(embedder.embed, [a, b])
    return float(vectors[0] @ vectors[1])


def _print(score: float | None, policy: str, judgement: Judgement) -> None:
    out = console()
    out.print("score    " + ("no embedder is installed" if score is None else f"{score:.4f}"))
    out.print(f"policy   {policy}")
    for reason in judgement.reasons:
        out.print(f"veto     {reason}")
    out.print(f"verdict  {'serve' if judgement.serve else 'ask the model'}")
