"""A simulated service: counts of calls, errors, slow answers, requests, cost and audits of each subject.

Nothing is sent; counts of each subject are drawn for each block of 30 s, with these rates and noises:

- 200 subjects, 5 calls a second in all on average; in ramps of many hours, half as many again at the
  height of the day and half as many less at its depth. How often a subject is asked is lognormal
  (sigma 0.5).
- Latency is heavy-tailed: its logarithm has a Laplace distribution (scale 0.4, so that the tail is
  a power law of index 2.5 and the third moment is infinite) around the sum of a level of the subject's
  own (sigma 0.25), a daily pattern (0.2), and two autoregressive processes: one that all subjects
  share (sigma 0.25, half-life 10 min), and one of each subject's own (sigma 0.2, half-life 3 min).
- 0.2 % of calls fail; every 12 h on average 20 % do for 3 minutes, in both arms.
- 80 % of calls need a request, more or less by subject (sigma 0.3) and hour, and where a layer asks more
  often, some need two. The cost of a request is
  gamma-distributed (coefficient of variation 0.7) and differs by subject (sigma 0.3).
- One call in a hundred is audited, so that audits are 1 % extra calls: four in treatment for each
  in control, of random subjects, as soon as so many calls allow for one. The error of a served price has a coefficient of variation of 0.35 (as the mean of five has) around 5 basis points, times
  a level of the subject's own (sigma 0.3) and a volatility that all share (sigma 0.3, half-life
  1 h). One answer in ten thousand is wrong.

Each harm and gain changes what treatment does from the first minute of a ramp.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, pi

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from argo_mw_rollout.statistics import Arm, Block
from argo_mw_rollout.statistics.metrics import FIELDS

Numbers = NDArray[np.float64]

SECONDS = 30.0
SUBJECTS = 200
CALLS_PER_SECOND = 5.0
BASELINE_HOURS = 72
DAY = 86_400.0
SCALE = 0.4
ERRORS = 0.002
REQUESTS = 0.8
USD = 0.002
USD_VARIATION = 0.7
DISTANCE = 5e-4
DISTANCE_VARIATION = 0.35
WRONG = 1e-4
AUDITED = 0.01
AUDITED_IN_TREATMENT = 0.8

_COLUMN = {name: number for number, name in enumerate(FIELDS)}


@frozen
class Effect:
    """What a layer does to the calls of treatment.

    Attributes:
        errors: The share of calls that it makes fail.
        latency: What it multiplies latencies with.
        tail: What it multiplies the share of the slowest hundredth with.
        requests: What it multiplies requests with.
        usd: What it multiplies the cost of a request with.
        distance: What it multiplies the error of prices with.
        wrong: The share of answers that it corrupts.
    """

    errors: float = 0.0
    latency: float = 1.0
    tail: float = 1.0
    requests: float = 1.0
    usd: float = 1.0
    distance: float = 1.0
    wrong: float = 0.0


NONE = Effect()


class Service:
    """One simulated service with its subjects.

    Args:
        seed: Decides everything that is drawn.
        tide: By what part the calls of an hour are more or less than on average.
    """

    def __init__(self, seed: int, tide: float = 0.5) -> None:
        self._tide = tide
        self._random = random = np.random.default_rng(seed)
        popularity = random.lognormal(0.0, 0.5, SUBJECTS)
        self._popularity = popularity / popularity.sum()
        self._level = random.normal(0.0, 0.25, SUBJECTS)
        self._usd = random.lognormal(-0.045, 0.3, SUBJECTS) * USD
        self._need = np.minimum(REQUESTS * random.lognormal(-0.045, 0.3, SUBJECTS), 0.95)
        self._distance = random.lognormal(-0.045, 0.3, SUBJECTS) * DISTANCE
        self._phase = random.uniform(0.0, DAY)
        self._order = random.permutation(SUBJECTS)  # the places that hashing gives
        self.names = [f"S{number:03}" for number in range(SUBJECTS)]
        self._slow, self._slowest = self._thresholds()
        self._shared = random.normal(0.0, 0.25)
        self._own = random.normal(0.0, 0.2, SUBJECTS)
        self._volatility = random.normal(0.0, 0.3)
        self._outage = 0.0
        self._paces: dict[float, _Pace] = {}

    def before(self) -> Arm:
        """Return what was counted of each subject in the days before the ramp, by the hour."""
        sums = np.zeros((SUBJECTS, len(FIELDS)))
        everyone = np.arange(SUBJECTS)
        for hour in range(BASELINE_HOURS):
            at = self._phase - (BASELINE_HOURS - hour) * 3600.0
            # What varies within minutes is drawn once an hour, with an hour's part of its variance.
            shared = self._random.normal(0.0, (0.25**2 / 4 + 0.2**2 / 14) ** 0.5, SUBJECTS)
            volatility = self._random.normal(0.0, 0.3)
            sums += self._draw(everyone, at, 3600.0, shared, NONE, self._any, volatility)
        return Arm(self.names, sums)

    def arms(self, percent: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which subjects are in treatment and in control at *percent*."""
        size = round(SUBJECTS * percent / 100.0)
        few = min(size, SUBJECTS - size)
        return np.sort(self._order[:size]), np.sort(self._order[SUBJECTS - few :])

    def blocks(
        self, start: float, number: int, percent: float, effect: Effect, seconds: float = SECONDS
    ) -> list[Block]:
        """Return *number* blocks of a ramp at *percent*, from *start* seconds after its begin.

        Args:
            start: When the first one begins.
            number: How many.
            percent: The share of treatment.
            effect: What the layer does.
            seconds: How long a block is.
        """
        random = self._random
        treatment, control = self.arms(percent)
        both = np.concatenate([treatment, control])
        minutes = seconds / 60.0
        slow, own, hour = (exp(-log(2.0) * minutes / half) for half in (10.0, 3.0, 60.0))
        if percent not in self._paces:
            self._paces[percent] = _Pace(random, len(treatment), len(control))
        pace = self._paces[percent]
        treated = np.arange(len(both)) < len(treatment)
        names = [[self.names[i] for i in arm] for arm in (treatment, control)]
        blocks = []
        for block in range(number):
            at = start + block * seconds
            self._shared = slow * self._shared + random.normal(0.0, 0.25 * (1 - slow**2) ** 0.5)
            noise = random.normal(0.0, 0.2 * (1 - own**2) ** 0.5, SUBJECTS)
            self._own = own * self._own + noise
            drift = random.normal(0.0, 0.3 * (1 - hour**2) ** 0.5)
            self._volatility = hour * self._volatility + drift
            self._outage -= seconds
            if random.random() < seconds / (12 * 3600.0):
                self._outage = 180.0
            sums = self._draw(
                both,
                self._phase + at,
                seconds,
                self._shared + self._own[both],
                effect,
                pace.audits,
                self._volatility,
                treated,
                0.2 if self._outage > 0 else 0.0,
            )
            one, two = sums[: len(treatment)], sums[len(treatment) :]
            blocks.append(Block(at, seconds, Arm(names[0], one), Arm(names[1], two)))
        return blocks

    def _draw(
        self,
        who: NDArray[np.int64],
        at: float,
        seconds: float,
        latency: Numbers,
        effect: Effect,
        audited: Callable[[Numbers], Numbers],
        volatility: float,
        treated: NDArray[np.bool_] | None = None,
        outage: float = 0.0,
    ) -> Numbers:
        random = self._random
        if treated is None:
            treated = np.zeros(len(who), dtype=np.bool_)
        wave = float(np.sin(2 * pi * at / DAY))
        rate = CALLS_PER_SECOND * seconds * (1.0 + self._tide * wave) * self._popularity[who]
        calls = random.poisson(rate)
        errors = random.binomial(calls, ERRORS + outage + effect.errors * treated)
        level = self._level[who] + 0.2 * wave + latency + log(effect.latency) * treated
        above = _above(self._slow - level)
        slow = random.binomial(calls, above)
        further = np.minimum(_above(self._slowest - level) / above, 1.0)
        slowest = random.binomial(slow, np.minimum(further * _if(treated, effect.tail), 1.0))
        needed = np.minimum(self._need[who] * (1.0 - 0.2 * wave), 1.0)
        requests = random.binomial(calls, needed * _if(treated, min(effect.requests, 1.0)))
        if effect.requests > 1.0:  # further ones: a call may have several
            requests += random.binomial(requests, (effect.requests - 1.0) * treated)
        shape = requests / USD_VARIATION**2
        usd = random.standard_gamma(shape) * USD_VARIATION**2
        usd *= self._usd[who] * _if(treated, effect.usd)
        audits = audited(calls)
        wrong = random.binomial(audits, WRONG + effect.wrong * treated)
        spread = DISTANCE_VARIATION**2
        distance = random.standard_gamma(audits / spread) * spread * self._distance[who]
        distance *= exp(volatility) * _if(treated, effect.distance)
        columns = (calls, errors, slow, slowest, requests, usd, audits, wrong, distance)
        return np.stack(columns, axis=1).astype(np.float64)

    def _any(self, calls: Numbers) -> Numbers:
        """Return how many of the calls before a ramp are audited, of each subject."""
        return np.asarray(self._random.binomial(calls, AUDITED))

    def _thresholds(self) -> tuple[float, float]:
        """Return the logarithms of the 95th and the 99th percentile of latency."""
        random = self._random
        levels = random.choice(SUBJECTS, 20_000, p=self._popularity)
        moving = random.normal(0.0, (0.25**2 + 0.2**2 + 0.2**2 / 2) ** 0.5, 20_000)
        noise = random.laplace(0.0, SCALE, 20_000)
        slow, slowest = np.quantile(self._level[levels] + moving + noise, [0.95, 0.99])
        return float(slow), float(slowest)


class _Pace:
    """Audits calls of both arms, as soon as so many of all allow for one more."""

    def __init__(self, random: np.random.Generator, treatment: int, control: int) -> None:
        self._random = random
        self._treatment = treatment
        self._shares = (
            AUDITED * SUBJECTS / treatment * AUDITED_IN_TREATMENT,
            AUDITED * SUBJECTS / control * (1.0 - AUDITED_IN_TREATMENT),
        )
        self._owed = random.uniform(0.0, 1.0, 2)

    def audits(self, calls: Numbers) -> Numbers:
        """Return how many of *calls*, treatment's first, are audited, of each subject."""
        found = []
        arms = (calls[: self._treatment], calls[self._treatment :])
        for arm, (own, share) in enumerate(zip(arms, self._shares, strict=True)):
            self._owed[arm] += share * own.sum()
            number = min(int(self._owed[arm]), int(own.sum()))
            self._owed[arm] -= number
            found.append(self._random.multivariate_hypergeometric(own, number))
        return np.concatenate(found)


def _above(distance: Numbers) -> Numbers:
    """Return the probability that a Laplace variable is above *distance*."""
    tail = 0.5 * np.exp(-np.abs(distance) / SCALE)
    return np.asarray(np.where(distance > 0, tail, 1.0 - tail))


def _if(treated: NDArray[np.bool_], factor: float) -> Numbers:
    return np.where(treated, factor, 1.0)
