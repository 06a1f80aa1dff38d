"""``argo-mw similarity``: try a pair of prompts, review served answers, look at the counts."""

from __future__ import annotations

import datetime as dt

import click
from attrs import asdict, evolve
from rich.table import Table

from argo_mw.cli import console, print_json, say, with_argo
from argo_mw.plugin import Argo, config_of, context_of
from argo_mw_similarity.audit import Audit, ServedHit
from argo_mw_similarity.comparison.policy import SOFT
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.factory import JUDGED, VERIFIED
from argo_mw_similarity.opinions.same_question import NAME as SAME_QUESTION
from argo_mw_similarity.opinions.same_question import verdict_in
from argo_mw_similarity.review import review
from argo_mw_similarity.stats import Stats
from argo_mw_similarity.summary import Summary
from argo_mw_similarity.trial import Trial, tried


@click.group()
def similarity() -> None:
    """Try two prompts, review what was served, and show the counts."""


@similarity.command("try")
@click.argument("a")
@click.argument("b")
@click.option("--policy", default="", help="The policy to ask, by default the configured one.")
@click.option("--ask", is_flag=True, help="Ask the judge if the policy would, at its price.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def try_(argo: Argo, a: str, b: str, policy: str, ask: bool, as_json: bool) -> None:
    """Print whether the answer to prompt A would serve prompt B: score, vetoes and verdict."""
    config = config_of(argo, SimilarityConfig)
    config = evolve(config, policy=policy) if policy else config
    trial = await tried(config, context_of(argo), a, b)
    may_ask = trial.undecided and config.policy == JUDGED
    verdict = "serve" if trial.serve else "ask the judge" if may_ask else "ask the model"
    if config.policy == VERIFIED and trial.score is not None and (trial.serve or trial.undecided):
        verdict = "serve, once such prompts have been served right"
    judge = ""
    if may_ask and ask:
        same = verdict_in(await argo.call(SAME_QUESTION, known=a, asked=b))
        judge = "no verdict" if same is None else "the same" if same else "another question"
        verdict = "serve" if same else "ask the model"
    if as_json:
        print_json({**asdict(trial), "judge": judge, "verdict": verdict})
        return
    _print(trial, judge, verdict)


@similarity.command("audit")
@click.option(
    "--wrong", metavar="ID", help="The answer was wrong: do not serve it so again, anywhere."
)
@click.option("--right", metavar="ID", help="The answer was right: take it off the list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def audit(argo: Argo, wrong: str | None, right: str | None, as_json: bool) -> None:
    """List the latest hits of all tenants, or review them; a wrong one is not served again.

    If the judge let an answer serve another prompt, only the verdict is withdrawn, and the answer
    still serves its own prompt. Otherwise the answer itself is.
    """
    config = config_of(argo, SimilarityConfig)
    kept = Audit(context_of(argo), max_hits=config.max_audited)
    hits = await kept.hits()
    if wrong and wrong == right:
        raise click.UsageError(f"{wrong!r} is given as wrong and as right: give one verdict")
    # All are looked up before the first is reviewed: a mistyped one changes nothing.
    reviews = [(_chosen(hits, one), one is wrong) for one in (wrong, right) if one]
    for hit, is_wrong in reviews:
        say(await review(context_of(argo), config, hit, wrong=is_wrong))
    if reviews:
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


@similarity.command("stats")
@click.option(
    "--days", type=click.IntRange(0, 89), default=7, show_default=True, help="Days before today."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_argo
async def stats(argo: Argo, days: int, as_json: bool) -> None:
    """Print what the fleet served and refused, the observed error, and what the judge cost."""
    summary = Summary.of(await Stats(context_of(argo)).totals(days))
    if as_json:
        print_json(summary.as_dict())
        return
    for line in summary.lines():
        console().print(line)


def _chosen(hits: list[ServedHit], wanted: str) -> ServedHit:
    for hit in hits:
        if hit.id == wanted:
            return hit
    msg = f"there is no hit {wanted!r}: 'argo-mw similarity audit' lists the hits"
    raise click.ClickException(msg)


def _print(trial: Trial, judge: str, verdict: str) -> None:
    out = console()
    out.print("score    " + ("not compared" if trial.score is None else f"{trial.score:.4f}"))
    out.print(f"policy   {trial.policy}")
    for reason in trial.reasons:
        soft = reason.partition(":")[0] in SOFT
        out.print(f"{'doubt' if soft else 'veto':<9}{reason}")
    if judge:
        out.print(f"judge    {judge}")
    out.print(f"verdict  {verdict}")
