"""The live part of ``argo-mw doctor``: a question to each configured upstream, where it is.

A question goes past the layers but not past the guards: quotas are charged and budgets hold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

from attrs import frozen

from argo_mw.app.application import Argo, engine_of
from argo_mw.app.findings import Finding
from argo_mw.app.upstreams import BoundUpstream
from argo_mw.base.errors import ArgoError
from argo_mw.model.call import Call
from argo_mw.model.upstream import Limits, Probe

TIMEOUT = 60.0
"""Seconds for one answer."""

_PERIODS = {"per_day": "a day", "per_minute": "a minute", "per_second": "a second"}


@frozen
class Question:
    """A question that can be asked.

    Attributes:
        bound: The upstream.
        probe: The upstream's own description of the question.
        call: The question, bound to the upstream.
    """

    bound: BoundUpstream
    probe: Probe
    call: Call

    @property
    def cost(self) -> str:
        """Return what it costs at most, in words."""
        usd = self.probe.most_usd()
        money = "at an unknown price" if usd is None else f"at most {usd:.6f} USD"
        request = f"1 request{_of(self.bound.upstream.limits)}"
        return request if usd == 0.0 else f"{request}, {money}"

    def __str__(self) -> str:
        given = " ".join(f"{name}={value!r}" for name, value in self.probe.parameters.items())
        return f"{self.call.upstream}: {self.probe.operation} {given}: {self.cost}"


def plan(argo: Argo) -> tuple[Sequence[Question], Sequence[Finding]]:
    """Return the questions to ask, and why other upstreams are not asked."""
    pipeline = engine_of(argo).pipeline
    questions: list[Question] = []
    findings: list[Finding] = []
    for name, bound in sorted(pipeline.upstreams.items()):
        probe = bound.upstream.probe
        if probe is None:
            findings.append(
                Finding(name, "live", True, "not asked: its plugin brings no test question")
            )
            continue
        tenant = argo.settings.argo.tenant
        call, _ = pipeline.calls.get(probe.operation, tenant, probe.parameters)
        call = call.evolve(refresh=True).bind(name)
        unsupported = bound.upstream.unsupported
        reason = None if unsupported is None else unsupported(call)
        if reason is None:
            questions.append(Question(bound, probe, call))
        else:
            findings.append(Finding(name, "live", True, f"not asked: it {reason}"))
    return questions, findings


async def ask(questions: Iterable[Question]) -> Sequence[Finding]:
    """Ask *questions*, one after the other; return how their answers differ from the expected."""
    return [await _ask(question) for question in questions]


async def _ask(question: Question) -> Finding:
    name = question.bound.upstream.name
    started = time.perf_counter()
    try:
        with question.probe.watch() as compare:
            async with asyncio.timeout(TIMEOUT):
                outcome = await question.bound.caller(question.call)
            differences = list(compare(outcome))
    except (ArgoError, TimeoutError) as error:
        return Finding(name, "live", False, f"{type(error).__name__}: {error}")
    took = time.perf_counter() - started
    usd = outcome.cost.usd
    cost = "" if not usd else f" for {usd:.6f} USD"
    answered = f"answered in {took:.2f} s{cost}"
    if differences:
        return Finding(
            name, "live", False, f"{answered}, not as expected: {'; '.join(differences)}"
        )
    return Finding(name, "live", True, f"{answered}, as expected")


def _of(limits: Limits) -> str:
    for field, period in _PERIODS.items():
        number = getattr(limits, field)
        if number is not None:
            return f" of {number} {period}"
    return ""
