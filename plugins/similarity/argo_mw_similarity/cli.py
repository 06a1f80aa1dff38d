"""``argo-mw similarity``: try a pair of prompts, review what was served."""

from __future__ import annotations

import asyncio
import datetime as dt

import click
from rich.table import Table

from argo_mw.app.application import engine_of
from argo_mw.cli import console, print_json, say, with_argo
from argo_mw.plugin import Argo, context_of
from argo_mw_similarity.audit import Audit, Hit
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.embed import Embedder
from argo_mw_similarity.lexicon import load
from argo_mw_similarity.parts import brought, embedder_of, policy_of
from argo_mw_similarity.policy import Verdict
from argo_mw_similarity.reading import read


@click.group()
def similarity() -> None:
    """Try what would be served, and review what was."""


@similarity.command("try")
@click.argument("a")
@click.argument("b")
@click.option("--policy", default="", help="The policy to ask; the configured one unless told.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def try_(argo: Argo, a: str, b: str, policy: str, as_json: bool) -> None:
    """Would the answer to prompt A serve prompt B? Prints score, vetoes and verdict."""
    config = _config(argo)
    lexicon = await asyncio.to_thread(load, *([config.data] if config.data else []))
    policies = brought(context_of(argo), "similarity_policies", config=config, lexicon=lexicon)
    judge = policy_of(config if not policy else _with_policy(config, policy), lexicon, policies)
    embedders = brought(
        context_of(argo), "similarity_embedders", config=config, context=context_of(argo)
    )
    score = await _score(embedder_of(config, embedders), a, b)
    asked, known = read(b, lexicon), read(a, lexicon)
    verdict = judge.judge(asked, known, 1.0 if score is None else score)
    if score is None and asked.normal != known.normal:
        missing = "score: without an embedder only equal texts are found"
        verdict = Verdict(False, 0.0, (*verdict.reasons, missing))
    if as_json:
        print_json(
            {
                "score": score,
                "policy": judge.name,
                "serve": verdict.serve,
                "reasons": list(verdict.reasons),
            }
        )
        return
    _print(score, judge.name, verdict)


@similarity.command("audit")
@click.option("--wrong", metavar="ID", help="The answer was wrong: unlearn it, for everyone.")
@click.option("--right", metavar="ID", help="The answer was right: take it off the list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def audit(argo: Argo, wrong: str | None, right: str | None, as_json: bool) -> None:
    """List the last served hits; a verdict takes one off, and unlearns it when it was wrong."""
    config = _config(argo)
    kept = Audit(context_of(argo), most=config.audit)
    hits = await kept.hits()
    if wrong or right:
        hit = _chosen(hits, wrong or right or "")
        if wrong:
            from argo_mw_similarity.store import Store

            store = Store(context_of(argo), per_scope=config.entries_per_scope, most=1)
            await store.forget(hit.scope, hit.number)
            say(f"unlearned: {hit.known!r} no longer answers anything")
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


def _chosen(hits: list[Hit], wanted: str) -> Hit:
    for hit in hits:
        if hit.id == wanted:
            return hit
    msg = f"there is no hit {wanted!r}: 'argo-mw similarity audit' lists those that are kept"
    raise click.ClickException(msg)


def _config(argo: Argo) -> SimilarityConfig:
    parts = engine_of(argo).pipeline.contributions.get("similarity")
    config = parts.config if parts is not None else None
    return config if isinstance(config, SimilarityConfig) else SimilarityConfig()


def _with_policy(config: SimilarityConfig, policy: str) -> SimilarityConfig:
    from attrs import evolve

    return evolve(config, policy=policy)


async def _score(embedder: Embedder | None, a: str, b: str) -> float | None:
    if embedder is None:
        return None
    await asyncio.to_thread(embedder.load)
    vectors = await asyncio.to_thread(embedder.embed, [a, b])
    return float(vectors[0] @ vectors[1])


def _print(score: float | None, policy: str, verdict: Verdict) -> None:
    out = console()
    out.print("score    " + ("no embedder is installed" if score is None else f"{score:.4f}"))
    out.print(f"policy   {policy}")
    for reason in verdict.reasons:
        out.print(f"veto     {reason}")
    out.print(f"verdict  {'serve' if verdict.serve else 'ask the model'}")
