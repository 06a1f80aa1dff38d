"""The catalog: every metric of the chain itself, read from its counters.

Attributes are names of operations, upstreams, layers, flags, models and kinds of errors, of which a
program has a handful, and which the counters bound. Subjects and tenants are never among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from argo_mw.plugin import Counts, Histogram, ShadowResult, UpstreamCounts
from argo_mw_metrics.gen_ai import GEN_AI, model_points
from argo_mw_metrics.metric import Metric, Point
from argo_mw_metrics.moment import FLAG_STATES, PYTHON, Moment

OPERATION: Final = "argo_mw.operation"
UPSTREAM: Final = "argo_mw.upstream"
LAYER: Final = "argo_mw.layer"
FLAG: Final = "argo_mw.flag"
GUARD: Final = "argo_mw.guard"
STATE: Final = "argo_mw.state"
ARM: Final = "argo_mw.arm"
MODEL: Final = "gen_ai.response.model"
ERROR: Final = "error.type"

_COUNTED_ELSEWHERE: Final = frozenset({"hit", "joined", "bypassed"})
"""Acts of layers that are not always announced, or have a metric of their own."""

AGES: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Upper bounds of the buckets of ages, in seconds."""


# Readers, by what the points of a metric are about


def _of_operations(read: Callable[[Counts], float]) -> Callable[[Moment], Iterable[Point]]:
    def points(moment: Moment) -> Iterable[Point]:
        return [((one.operation,), read(one)) for one in moment.counts]

    return points


def _of_layers(read: Callable[[Counts], dict[str, float]]) -> Callable[[Moment], Iterable[Point]]:
    def points(moment: Moment) -> Iterable[Point]:
        for one in moment.counts:
            for layer, value in read(one).items():
                yield (layer, one.operation), value

    return points


def _of_shadows(read: Callable[[ShadowResult], float]) -> Callable[[Moment], Iterable[Point]]:
    return _of_layers(lambda one: {layer: read(done) for layer, done in one.shadows.items()})


def _of_upstreams(
    read: Callable[[UpstreamCounts], float | Histogram],
) -> Callable[[Moment], Iterable[Point]]:
    def points(moment: Moment) -> Iterable[Point]:
        for one in moment.counts:
            for upstream, counts in one.upstreams.items():
                yield (upstream, one.operation), read(counts)

    return points


def _of_arms(read: Callable[[Counts], float | Histogram]) -> Callable[[Moment], Iterable[Point]]:
    def points(moment: Moment) -> Iterable[Point]:
        return [(key, read(one)) for key, one in moment.arms.items()]

    return points


def _calls(moment: Moment) -> Iterable[Point]:
    for one in moment.counts:
        yield (one.operation, "upstream", ""), one.loads
        for layer, hits in one.hits.items():
            yield (one.operation, layer, ""), hits
        for error, count in one.errors.items():
            yield (one.operation, "", error), count


def _durations(moment: Moment) -> Iterable[Point]:
    for one in moment.counts:
        yield (one.operation, "true"), one.latency
        yield (one.operation, "false"), Histogram(zeros=one.at_hand)


def _ages(moment: Moment) -> Iterable[Point]:
    return [((one.operation,), one.age) for one in moment.counts]


def _requests(moment: Moment) -> Iterable[Point]:
    for one in moment.counts:
        for upstream, requests in one.requests_to.items():
            if upstream in one.upstreams or requests:  # computed operations send none
                yield (upstream, one.operation), requests


def _asked(moment: Moment) -> Iterable[Point]:
    for one in moment.counts:
        for upstream, calls in one.asked.items():
            if upstream in one.upstreams:
                yield (upstream, one.operation), calls


def _attempts(moment: Moment) -> Iterable[Point]:
    for one in moment.counts:
        for upstream, counts in one.upstreams.items():
            for status, count in counts.ended.items():
                yield (upstream, one.operation, status), count


def _tokens(moment: Moment) -> Iterable[Point]:
    for one, upstream, model, counts in model_points(moment):
        for kind, tokens in (
            ("input", counts.tokens_in),
            ("cache_read", counts.tokens_cached),
            ("cache_write", counts.tokens_written),
            ("output", counts.tokens_out),
            ("reasoning", counts.tokens_reasoned),
        ):
            yield (upstream, one.operation, model, kind), tokens


def _model_costs(moment: Moment) -> Iterable[Point]:
    for one, upstream, model, counts in model_points(moment):
        yield (upstream, one.operation, model), counts.usd


def _saved_requests(moment: Moment) -> Iterable[Point]:
    for one in moment.counts:
        if one.operation not in moment.computed:
            for layer, hits in one.hits.items():
                yield (layer, one.operation), hits


def _actions(moment: Moment) -> Iterable[Point]:
    for layer, acts in moment.here.acts.items():
        for act, count in acts.items():
            if act not in _COUNTED_ELSEWHERE:
                yield (layer, act), count


def _bypasses(moment: Moment) -> Iterable[Point]:
    for layer, acts in moment.here.acts.items():
        if "bypassed" in acts:
            yield (layer,), acts["bypassed"]


def _left(moment: Moment) -> Iterable[Point]:
    for (upstream, guard), one in moment.standings.items():
        for limit, left in one.limits.items():
            yield (upstream, guard, limit), left.left


def _limits(moment: Moment) -> Iterable[Point]:
    for (upstream, guard), one in moment.standings.items():
        for limit, left in one.limits.items():
            yield (upstream, guard, limit), left.limit


def _guard_states(moment: Moment) -> Iterable[Point]:
    for (upstream, guard), one in moment.standings.items():
        for state, so in one.states.items():
            yield (upstream, guard, state), float(so)


def _flag_states(moment: Moment) -> Iterable[Point]:
    for flag, now in moment.flag_states():
        for state in FLAG_STATES:
            yield (flag, state), float(state == now)


def _flag_percents(moment: Moment) -> Iterable[Point]:
    full = {"on": 100.0, "percent": 0.0}
    for flag, now in moment.flag_states():
        percent = moment.flags[flag].rule.percent
        yield (flag,), percent if now == "percent" and percent is not None else full.get(now, 0.0)


def _with_hits(one: Counts) -> Histogram:
    whole = Histogram(zeros=one.at_hand)
    whole.merge(one.latency)
    return whole


def _build(moment: Moment) -> Iterable[Point]:
    return [((moment.here.build, PYTHON), 1.0)]


CALLS: Final = (
    Metric(
        "argo_mw.calls", "counter", "{call}", "Calls that ended, by what answered them",
        (OPERATION, "argo_mw.served_by", ERROR), _calls,
    ),
    Metric(
        "argo_mw.call.duration", "histogram", "s",
        "How long callers waited; 0 where the answer was at hand",
        (OPERATION, "argo_mw.waited"), _durations,
    ),
    Metric(
        "argo_mw.answer.age", "histogram", "s",
        "How old answers were when callers got them; of one in 64, for all",
        (OPERATION,), _ages, bounds=AGES,
    ),
    Metric(
        "argo_mw.refreshes", "counter", "{call}", "Answers that were asked for anew, for no caller",
        (OPERATION,), _of_operations(lambda one: one.refreshes),
    ),
    Metric(
        "argo_mw.audits", "counter", "{request}", "Requests that check what was served",
        (OPERATION,), _of_operations(lambda one: one.audits),
    ),
)  # fmt: skip

UPSTREAMS: Final = (
    Metric(
        "argo_mw.upstream.requests", "counter", "{request}",
        "Requests sent; computed operations send none",
        (UPSTREAM, OPERATION), _requests,
    ),
    Metric(
        "argo_mw.upstream.calls", "counter", "{call}", "Calls that these requests were to answer",
        (UPSTREAM, OPERATION), _asked,
    ),
    Metric(
        "argo_mw.upstream.attempts", "counter", "{attempt}", "Attempts, by how they ended",
        (UPSTREAM, OPERATION, "argo_mw.status"), _attempts,
    ),
    Metric(
        "argo_mw.upstream.duration", "histogram", "s",
        "How long attempts took that brought an acceptable answer",
        (UPSTREAM, OPERATION), _of_upstreams(lambda counts: counts.latency),
    ),
    Metric(
        "argo_mw.cost", "counter", "USD", "What requests cost whose price is known",
        (UPSTREAM, OPERATION), _of_upstreams(lambda counts: counts.usd),
    ),
    Metric(
        "argo_mw.cost.unpriced", "counter", "{call}", "Calls whose requests have no known price",
        (UPSTREAM, OPERATION), _of_upstreams(lambda counts: counts.unpriced),
    ),
    Metric(
        "argo_mw.guard.left", "gauge", "",
        "What was left of a limit when this instance last asked; of a window that began since, all",
        (UPSTREAM, GUARD, "argo_mw.limit"), _left,
    ),
    Metric(
        "argo_mw.guard.limit", "gauge", "", "The whole limit, of which nothing is used",
        (UPSTREAM, GUARD, "argo_mw.limit"), _limits,
    ),
    Metric(
        "argo_mw.guard.state", "gauge", "",
        "1 for each state that a guard of an upstream is in, 0 for the others",
        (UPSTREAM, GUARD, STATE), _guard_states,
    ),
    Metric(
        "argo_mw.model.tokens", "counter", "{token}",
        "Tokens of models; cache_read and cache_write are part of input, reasoning of output",
        (UPSTREAM, OPERATION, MODEL, "argo_mw.token.type"), _tokens,
    ),
    Metric(
        "argo_mw.model.cost", "counter", "USD", "What models cost, as far as prices are known",
        (UPSTREAM, OPERATION, MODEL), _model_costs,
    ),
)  # fmt: skip

LAYERS: Final = (
    Metric(
        "argo_mw.saved.requests", "counter", "{request}",
        "Answers that a layer had; of computed operations, which send no request, none",
        (LAYER, OPERATION), _saved_requests,
    ),
    Metric(
        "argo_mw.saved.cost", "counter", "USD",
        "What the answers of language models that a layer had would have cost",
        (LAYER, OPERATION), _of_layers(lambda one: one.saved_usd),
    ),
    Metric(
        "argo_mw.layer.actions", "counter", "{action}", "What layers did besides answering",
        (LAYER, "argo_mw.action"), _actions,
    ),
    Metric(
        "argo_mw.layer.bypasses", "counter", "{call}", "Calls that bypassed a broken layer",
        (LAYER,), _bypasses,
    ),
    Metric(
        "argo_mw.shadow.calls", "counter", "{call}", "Calls that a layer in shadow was shown",
        (LAYER, OPERATION), _of_shadows(lambda done: done.calls),
    ),
    Metric(
        "argo_mw.shadow.hits", "counter", "{call}", "Those of them that it would have answered",
        (LAYER, OPERATION), _of_shadows(lambda done: done.hits),
    ),
    Metric(
        "argo_mw.shadow.unequal", "counter", "{call}",
        "Those of them whose answer would have differed from the one that came",
        (LAYER, OPERATION), _of_shadows(lambda done: done.unequal),
    ),
    Metric(
        "argo_mw.shadow.saved.cost", "counter", "USD", "What they cost, and would not have",
        (LAYER, OPERATION), _of_shadows(lambda done: done.usd),
    ),
)  # fmt: skip

ROLLOUT: Final = (
    Metric(
        "argo_mw.flag.state", "gauge", "", "1 for the state that a flag is in, 0 for the others",
        (FLAG, STATE), _flag_states,
    ),
    Metric(
        "argo_mw.flag.percent", "gauge", "%", "The share of calls that a flag is on for",
        (FLAG,), _flag_percents,
    ),
    Metric(
        "argo_mw.arm.calls", "counter", "{call}", "Calls in an arm of a ramped flag",
        (FLAG, ARM, OPERATION), _of_arms(lambda one: one.calls),
    ),
    Metric(
        "argo_mw.arm.hits", "counter", "{call}", "Those of them that a layer answered",
        (FLAG, ARM, OPERATION), _of_arms(lambda one: sum(one.hits.values())),
    ),
    Metric(
        "argo_mw.arm.failures", "counter", "{call}",
        "Those of them that failed; a caller that left, or a missing subject, is none",
        (FLAG, ARM, OPERATION), _of_arms(lambda one: one.failures),
    ),
    Metric(
        "argo_mw.arm.requests", "counter", "{request}", "Requests that they took",
        (FLAG, ARM, OPERATION), _of_arms(lambda one: one.requests),
    ),
    Metric(
        "argo_mw.arm.cost", "counter", "USD", "What these cost",
        (FLAG, ARM, OPERATION), _of_arms(lambda one: one.usd),
    ),
    Metric(
        "argo_mw.arm.duration", "histogram", "s",
        "How long callers in an arm waited; 0 where the answer was at hand",
        (FLAG, ARM, OPERATION), _of_arms(_with_hits),
    ),
)  # fmt: skip

INSTANCE: Final = (
    Metric(
        "argo_mw.build.info", "gauge", "", "1, with the version that runs",
        ("argo_mw.version", "process.runtime.version"), _build,
    ),
    Metric(
        "argo_mw.start.time", "gauge", "s", "When the application was opened, since the epoch",
        (), lambda moment: [((), moment.here.started)],
    ),
    Metric(
        "argo_mw.rebuilds", "counter", "{build}", "How often the chains were built",
        (), lambda moment: [((), moment.here.rebuilt)],
    ),
    Metric(
        "argo_mw.troubles", "counter", "{trouble}", "Problems that were reported, by where",
        ("argo_mw.where",), lambda moment: [((w,), n) for w, n in moment.here.troubles.items()],
    ),
)  # fmt: skip


CATALOG: Final = (*CALLS, *UPSTREAMS, *LAYERS, *ROLLOUT, *INSTANCE, *GEN_AI)
"""All metrics of the chain."""
