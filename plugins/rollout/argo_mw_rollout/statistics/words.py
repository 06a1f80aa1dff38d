"""What the judge says, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from argo_mw_rollout.statistics.metrics import METRICS, NAMES
from argo_mw_rollout.statistics.rare import Checked
from argo_mw_rollout.statistics.sample_ratio import Mismatch
from argo_mw_rollout.statistics.step import Step
from argo_mw_rollout.statistics.verdict import Evidence

_SHARED = ("requests", "usd")
_NOTABLE = 0.2
_MUCH = 5.0
"""Where so many margins of harm are possible, too little is known to say that nothing changed."""

NO_GUARDRAIL = "no guardrail is left, so nothing would be noticed"
WARMING = "the layer is warming up"
NO_BASELINE = (
    "nothing is known of the time before the ramp, so subjects cannot be compared with "
    "themselves: abort it, and start it again once calls are counted"
)


def report(flag: str, percent: float, evidence: Sequence[Evidence], *more: str) -> str:
    """Return what is known of a flag's ramp, as one line.

    Args:
        flag: The flag.
        percent: Its share.
        evidence: The evidence.
        more: Further changes, such as that of a percentile, which stand first.
    """
    known = [one for one in evidence if one.state != "no data"]
    changed = [change_of(one) for one in known if one.changed]
    vague = [one.words for one in known if _vague(one)]
    lacking = [one.words for one in evidence if one.state == "no data"]
    parts = [*more, *changed]
    if len(changed) + len(vague) < len(known) or not vague:
        parts.append("no other change" if parts else "no change")
    if vague:
        parts.append(f"too little known yet of {_and(vague)}")
    if lacking:
        parts.append(f"nothing known of {_and(lacking)}")
    parts += [_drift(one) for one in known if one.metric in _SHARED and _drifted(one)]
    return f"{flag} at {percent:g} %: {', '.join(parts)}"


def change_of(one: Evidence) -> str:
    """Return a change with its interval: ``requests +4 % (+1 to +7)``."""
    return _change(one.words, one.change, one.low, one.high, relative=one.relative)


def change(metric: str, value: float, low: float, high: float) -> str:
    """Return the change of *metric* with its interval."""
    return _change(METRICS[metric].words, value, low, high, relative=METRICS[metric].relative)


def _change(name: str, value: float, low: float, high: float, *, relative: bool) -> str:
    unit = "%" if relative else "points"
    ends = f"{_number(low, value)} to {_number(high, value)}"
    return f"{name} {_number(value, value)} {unit} ({ends})"


def percentile(name: str, found: tuple[float, float, float]) -> str:
    """Return the change of a percentile: ``p99 −38 % (−45 to −31)``."""
    return _change(name, *found, relative=True)


def harm(evidence: Sequence[Evidence]) -> str:
    """Return why harm is certain."""
    return "; ".join(
        f"{one.words} are certainly worse: {one.why}"
        if one.why
        else f"{change_of(one)}, which is certainly more than {_margin(one.margin, one)}"
        for one in evidence
    )


def not_yet_safe(evidence: Sequence[Evidence], to: float) -> str:
    """Return what harm is not ruled out yet."""
    near = [one for one in evidence if isfinite(one.worst) and one.worst >= one.limit]
    parts = [f"{one.words} (could still be {_worst(one)})" for one in near]
    far = [one.words for one in evidence if one not in near]
    parts += [f"too little is known yet of {_and(far)}"] if far else []
    where = "on" if to >= 100.0 else f"{to:g} %"
    return f"not yet certain enough for {where}: {', '.join(parts)}"


def safe(to: float, gains: Sequence[str]) -> str:
    """Return why the next step can be taken."""
    where = "on" if to >= 100.0 else f"{to:g} %"
    text = f"no harm that would matter at {where}"
    return text + (f"; {', '.join(gains)}" if gains else "")


def no_gain(signals: Sequence[str]) -> str:
    """Return that nothing has become better."""
    names = [METRICS[name].words for name in signals if name in METRICS]
    return f"it does no harm, but nothing has become better for certain ({_or(names)})"


def no_data(evidence: Sequence[Evidence], *, early: bool) -> str:
    """Return what nothing was counted of, which may come yet if it is *early*."""
    names = _and([one.words for one in evidence])
    if early:
        return f"nothing was counted yet of {names}"
    return f"nothing was counted of {names}; do not guard what cannot be counted"


def few_subjects(step: Step, needed: int, *, waiting_helps: bool) -> str:
    """Return that there are too few subjects."""
    treatment, control = step.subjects
    text = (
        f"{treatment} subjects in treatment and {control} in control; {needed} of each are needed"
    )
    if waiting_helps:
        return text
    fewest = max(min(treatment, control), 1)
    share = min(step.percent * needed / fewest * 1.5, 50.0)
    return f"{text}, and no new ones come: a share of about {share:.2g} % would have them"


def unknown_metric(name: str) -> str:
    """Return that there is no such metric."""
    return f"there is no metric {name!r}; there are {', '.join(NAMES)}"


def unusable(faults: Sequence[str]) -> str:
    """Return that counts could not be used."""
    return f"counts cannot be used: {_and(faults[:3])}"


def always_differ(usual: Checked) -> str:
    """Return that answers differ from fresh ones without the layer, too."""
    return (
        f"{usual.wrong:.0f} of {usual.total:.0f} answers that were checked differ without the "
        "layer too, so wrong ones cannot be told: give the operation a distance, or leave "
        '"wrong" and "distance" out of the plan'
    )


def mismatch(found: Mismatch) -> str:
    """Return that the arms have the wrong sizes."""
    both = found.treatment + found.control
    return (
        f"the arms cannot be compared: of {both} subjects {found.treatment} are in treatment, "
        f"where about {found.expected * both:.0f} should be; {found.cause}"
    )


def checked(treatment: Checked, control: Checked) -> str:
    """Return how many answers were checked and wrong."""
    return (
        f"{treatment.wrong:.0f} of {treatment.total:.0f} checked in treatment, "
        f"{control.wrong:.0f} of {control.total:.0f} in control"
    )


def duration(seconds: float | None) -> str:
    """Return *seconds* for people, or "" where unknown."""
    if seconds is None or not isfinite(seconds):
        return ""
    for unit, size in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return "about a minute"


def _vague(one: Evidence) -> bool:
    """Return whether neither a change is certain nor that there is none that matters much."""
    return not one.changed and one.state == "open" and not one.high <= _MUCH * one.margin


def _drifted(one: Evidence) -> bool:
    return one.before > 0.0 and abs(one.control / one.before - 1.0) >= _NOTABLE


def _drift(one: Evidence) -> str:
    """Return that control is not what it was: the arms share something, or the times differ."""
    change = _number(one.control / one.before - 1.0, 1.0)
    return f"in control itself {one.words} {change} % against before the ramp"


def _number(value: float, beside: float) -> str:
    """Return a part as a signed percentage, with as many digits as *beside* needs."""
    if not isfinite(value):
        return "?"
    digits = 0 if abs(beside) >= 0.02 else 1 if abs(beside) >= 0.002 else 2
    text = f"{100 * value:+.{digits}f}"
    return text.replace("-", "−")


def _margin(value: float, one: Evidence) -> str:
    return f"{100 * value:g} {'%' if one.relative else 'points'}"


def _worst(one: Evidence) -> str:
    return f"{_number(one.worst, one.worst)} {'%' if one.relative else 'points'}"


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _or(parts: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
