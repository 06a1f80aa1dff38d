"""A ramp: where it stands, what it has seen, and its journal, as a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast, get_args

from attrs import evolve, field, frozen

from argo_mw.plugin import ConfigError
from argo_mw_rollout.plan import Plan, percent_of

Status = Literal["running", "paused", "done", "rolled back", "aborted"]
"""Where a ramp stands; ``running`` and ``paused`` ones are judged, the others have ended."""

LEARNING: Final = -1
"""The place of a ramp that has not begun its steps: subjects are watched, nothing is changed."""

MAX_JOURNAL: Final = 500

_NUMBERS: Final = re.compile(r"\d[\d.,:]*")


@frozen
class Entry:
    """One thing that happened to a ramp.

    Attributes:
        at: Seconds since the epoch.
        what: What happened: ``started``, ``step``, ``hold``, ``rolled back`` …
        why: The reason, for people.
        evidence: What was known of each metric, as plain data.
    """

    at: float
    what: str
    why: str = ""
    evidence: Sequence[Mapping[str, object]] = ()


@frozen
class Intent:
    """What is to be done about the flag, stored before it is done, so that it is done once.

    Attributes:
        what: ``set`` the flag, ``unset`` what the ramp has set, or ``roll back``.
        to: What it is set to, or is then; or why it is rolled back.
    """

    what: Literal["set", "unset", "roll back"]
    to: str


@frozen
class Ramp:
    """A ramp of one flag.

    Attributes:
        flag: The flag's name.
        plan: Its plan, as it was when the ramp was started.
        started: Seconds since the epoch.
        since: When its step began; before that is the case, when it was decided.
        status: Where it stands.
        place: Which of the plan's steps it is in, or :data:`LEARNING`.
        intent: What is to be done about the flag, until that is done.
        next_block: The number of the next block of counts that is taken in.
        seconds: How long a block of counts is.
        slow: By operation, the seconds above which calls are slow, and slowest.
        judge: What the statistics have seen, as plain data.
        hold: Why it does not go on, or "".
        loud: Whether a person should look at that.
        verdict: What is known of each metric, as plain data.
        fence: That of the lease of the judge that wrote it last.
        before: What the flag was set to before the ramp.
        set_below: Whether that is set by a source below the fleet's flags, such as ``argo.toml``.
        journal: What has happened to it, the oldest first.
        untold: How many of the newest journal entries have not been announced yet.
        revision: How often it was written: a store with an older revision was restored from a
        backup.
        counted: What instances had counted when its step began, as plain data; ``None`` if unknown.
    """

    flag: str
    plan: Plan
    started: float
    since: float
    status: Status = "running"
    place: int = LEARNING
    intent: Intent | None = None
    next_block: int = 0
    seconds: float = 30.0
    slow: Mapping[str, tuple[float, float]] = field(factory=dict)
    judge: Mapping[str, object] | None = None
    hold: str = ""
    loud: bool = False
    verdict: Mapping[str, object] = field(factory=dict)
    fence: int = 0
    before: str = ""
    set_below: bool = False
    journal: Sequence[Entry] = ()
    untold: int = 0
    revision: int = 0
    counted: Mapping[str, object] | None = None

    @property
    def ended(self) -> bool:
        """Whether it goes on no more."""
        return self.status in ("done", "rolled back", "aborted")

    @property
    def step(self) -> str:
        """The step that it is in, or "" while it is learning."""
        return "" if self.place == LEARNING else self.plan.steps[self.place]

    @property
    def percent(self) -> float | None:
        """The share of its step, or ``None`` where that has none."""
        return percent_of(self.step) if self.step else None

    @property
    def next_step(self) -> str:
        """The step after this one, or "" after the last."""
        steps = self.plan.steps
        return steps[self.place + 1] if self.place + 1 < len(steps) else ""

    def noted(self, at: float, what: str, why: str = "", *, evidence: bool = False) -> Ramp:
        """Return it with an entry in its journal."""
        found = self.verdict.get("evidence", ()) if evidence else ()
        entry = Entry(at, what, why, cast("Sequence[Mapping[str, object]]", found))
        journal = (*self.journal, entry)[-MAX_JOURNAL:]
        return evolve(self, journal=journal, untold=min(self.untold + 1, len(journal)))

    def held(self, at: float, why: str, *, loud: bool) -> Ramp:
        """Return it holding because of *why*; that is noted once, while only numbers change."""
        if why == self.hold and loud == self.loud:
            return self
        changed = evolve(self, hold=why, loud=loud)
        if loud and self.loud and _NUMBERS.sub("", why) == _NUMBERS.sub("", self.hold):
            return changed
        if loud:
            return changed.noted(at, "hold", why)
        return changed.noted(at, "goes on") if self.loud else changed

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, from which :meth:`of_data` makes it again."""
        intent = None if self.intent is None else [self.intent.what, self.intent.to]
        return {
            "flag": self.flag,
            "plan": self.plan.as_data(),
            "started": self.started,
            "since": self.since,
            "status": self.status,
            "place": self.place,
            "intent": intent,
            "next_block": self.next_block,
            "seconds": self.seconds,
            "slow": {name: list(both) for name, both in self.slow.items()},
            "judge": self.judge,
            "hold": self.hold,
            "loud": self.loud,
            "verdict": dict(self.verdict),
            "fence": self.fence,
            "before": self.before,
            "set_below": self.set_below,
            "journal": [[e.at, e.what, e.why, list(e.evidence)] for e in self.journal],
            "untold": self.untold,
            "revision": self.revision,
            "counted": self.counted,
        }

    @classmethod
    def of_data(cls, data: object) -> Ramp:
        """Return the ramp that *data* describes.

        Raises:
            ConfigError: It is not such data.
        """
        try:
            if not isinstance(data, Mapping):
                raise TypeError
            if data["status"] not in get_args(Status):
                raise TypeError
            intent = data["intent"]
            journal = tuple(_entry(*entry) for entry in data["journal"])
            made = cls(
                flag=str(data["flag"]),
                plan=Plan.of_data(data["plan"]),
                started=float(data["started"]),
                since=float(data["since"]),
                status=cast("Status", data["status"]),
                place=int(data["place"]),
                intent=None if intent is None else _intent(*intent),
                next_block=int(data["next_block"]),
                seconds=float(data["seconds"]),
                slow={str(n): (float(a), float(b)) for n, (a, b) in data["slow"].items()},
                judge=None if data["judge"] is None else _table(data["judge"]),
                hold=str(data["hold"]),
                loud=bool(data["loud"]),
                verdict=_table(data["verdict"]),
                fence=int(data["fence"]),
                before=str(data["before"]),
                set_below=bool(data.get("set_below", False)),
                journal=journal,
                untold=min(int(data.get("untold", 0)), len(journal)),
                revision=int(data.get("revision", 0)),
                counted=None if data.get("counted") is None else _table(data["counted"]),
            )
            if not (LEARNING <= made.place < len(made.plan.steps)):
                raise TypeError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"a ramp in the shared store cannot be read: {error}; it is of another version"
            raise ConfigError(msg) from error
        return made


def _entry(at: object, what: object, why: object, evidence: object) -> Entry:
    if not isinstance(at, int | float) or not isinstance(evidence, list | tuple):
        raise TypeError
    return Entry(float(at), str(what), str(why), tuple(_table(one) for one in evidence))


def _intent(what: object, to: object) -> Intent:
    if what not in ("set", "unset", "roll back"):
        raise TypeError
    return Intent(what, str(to))


def _table(data: object) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise TypeError
    return data
