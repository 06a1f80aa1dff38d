"""A snapshot: what running programs do at one moment, as values that any screen can draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import asdict, field, frozen

from argo_mw.model.panel import Column, View


@frozen
class JournalEntry:
    """Something that was changed.

    Attributes:
        at: Seconds since the epoch.
        what: What was done, in a few words.
        why: The reason, or "".
        by: The instance in which it was done.
    """

    at: float
    what: str
    why: str = ""
    by: str = ""


@frozen
class LayerNow:
    """A layer in the chain, and what it does.

    Attributes:
        name: Its name.
        flag: The name of its flag.
        rule: What that is set to, in words.
        acts: What it does, how often a second: ``hit`` for each answer that it has, and by their
            names what else it does.
        inner: Whether it stands inside of the point where upstreams are chosen.
        off: Whether it acts on no call.
    """

    name: str
    flag: str
    rule: str
    acts: Mapping[str, float]
    inner: bool = False
    off: bool = False


@frozen
class UpstreamNow:
    """An upstream, and what it is asked.

    Attributes:
        name: Its name.
        operations: What it answers.
        rule: What its flag is set to, in words.
        requests: Requests a second.
    """

    name: str
    operations: Sequence[str]
    rule: str
    requests: float


@frozen
class OperationNow:
    """An operation, and how its calls fare.

    Attributes:
        name: Its name.
        total: Calls since the programs started.
        calls: Calls a second.
        hits: Answers a second that a layer had, by layer.
        loads: Answers a second from upstreams.
        errors: Errors a second, by class.
        hit_rate: The share of calls that a layer answered, or ``None`` without calls.
        p50: The median of the seconds that callers waited, or ``None`` without calls.
        p95: The seconds that 95 % of them did not exceed.
        p99: The seconds that 99 % of them did not exceed.
        age_p50: The median age of what was served, in seconds, or ``None``.
        age_p95: The age that 95 % of it did not exceed, in seconds.
        tokens: Tokens a second, sent and received.
        usd: US dollars an hour, of the requests whose price is known.
        saved_usd: US dollars an hour that each layer saved: each answer that it had, at what an
            answer from an upstream has cost on average.
        unpriced: Calls a second whose requests have no known price.
    """

    name: str
    total: int
    calls: float
    hits: Mapping[str, float]
    loads: float
    errors: Mapping[str, float]
    hit_rate: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    age_p50: float | None
    age_p95: float | None
    tokens: float
    usd: float
    saved_usd: Mapping[str, float]
    unpriced: float


@frozen
class InstanceNow:
    """A running program.

    Attributes:
        name: Its name, unique in the fleet.
        machine: The name of its machine.
        build: The version of argo-mw that it runs.
        calls: Calls a second.
    """

    name: str
    machine: str
    build: str
    calls: float


@frozen
class ButtonNow:
    """A button of a panel.

    Attributes:
        name: Its name.
        label: What is on it.
        question: What is asked before; ``{}`` stands for the first cell of the line.
    """

    name: str
    label: str
    question: str


@frozen
class PanelNow:
    """A panel, and what it shows.

    Attributes:
        name: Its name.
        title: What is over it.
        columns: Its columns.
        buttons: What a person may do to its lines.
        views: What it shows, by instance; by "" where it shows the same in each.
    """

    name: str
    title: str
    columns: Sequence[Column]
    buttons: Sequence[ButtonNow]
    views: Mapping[str, View]


@frozen
class ProgramsNow:
    """What running programs do now.

    Attributes:
        at: Seconds since the epoch.
        seconds: Over how many seconds rates are taken.
        instances: The programs.
        layers: The chain, from the caller inwards.
        upstreams: The upstreams.
        operations: The operations that were called.
        panels: What plugins show of themselves.
        problems: What is not well, in sentences.
        journal: What was changed, the newest first.
    """

    at: float
    seconds: float
    instances: Sequence[InstanceNow]
    layers: Sequence[LayerNow]
    upstreams: Sequence[UpstreamNow]
    operations: Sequence[OperationNow]
    panels: Sequence[PanelNow] = ()
    problems: Sequence[str] = ()
    journal: Sequence[JournalEntry] = field(default=())

    def as_data(self) -> dict[str, object]:
        """Return it as plain data, for JSON."""
        return asdict(self)


class Overview(Protocol):
    """Reads what running programs do, and does to them what a person asks for.

    Each reading tells the others that somebody looks: they publish what they show every two seconds
    then. Rates are taken over the last 15 seconds; at the first reading, since each program began.
    """

    async def read(self) -> ProgramsNow:
        """Return what they do now.

        While the shared store is away, that is what this program does, and that the store is away.
        """

    async def press(self, panel: str, button: str, key: str) -> str:
        """Do what *button* of *panel* does to the line with *key*, and write it into the journal.

        Returns:
            What was done, in a sentence.

        Raises:
            BadParameter: There is no such button.
            ArgoError: It cannot be done; the message says why.
        """
