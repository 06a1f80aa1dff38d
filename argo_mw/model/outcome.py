"""An answer and what is known about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, final

from attrs import field, frozen
from msgspec import Struct
from msgspec.structs import replace

from argo_mw.base.amounts import dollars
from argo_mw.base.secret import redact


@frozen
class Cost:
    """What upstream calls cost.

    Attributes:
        usd: United States dollars, or ``None`` when the price is not known.
        tokens_in: Tokens sent.
        tokens_out: Tokens received.
        requests: Requests charged to a quota; a fraction when a request was shared.
        estimated: Whether any part is an estimate.
        model: Which of the upstream's models answered; "" where it has none, or several did.
        tokens_cached: The tokens sent that the upstream read from a cache of its own.
        tokens_written: The tokens sent that it wrote to that cache.
        tokens_expected: The tokens sent that were expected before the request.
        tokens_reasoned: The tokens received that the model has reasoned with.
    """

    usd: float | None = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    requests: float = 0.0
    estimated: bool = False
    model: str = ""
    tokens_cached: int = 0
    tokens_written: int = 0
    tokens_expected: int = 0
    tokens_reasoned: int = 0

    def __add__(self, other: Cost) -> Cost:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Cost(
            usd,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.requests + other.requests,
            self.estimated or other.estimated,
            self.model if self.model == other.model else "",
            self.tokens_cached + other.tokens_cached,
            self.tokens_written + other.tokens_written,
            self.tokens_expected + other.tokens_expected,
            self.tokens_reasoned + other.tokens_reasoned,
        )


NO_COST = Cost()
"""No cost."""

UNKNOWN_COST = Cost(usd=None, estimated=True)
"""The cost of a request that nothing is known of: it may have been paid for."""


@final
class Attempt(Struct, frozen=True):
    """One attempt at one upstream.

    Attributes:
        upstream: Its name.
        latency: Seconds from sending to the answer, the error or the cancellation.
        status: How it ended.
        error: The error in a few words, or "".
        cost: What it cost.
    """

    upstream: str
    latency: float
    status: Literal["ok", "rejected", "failed", "refused", "timeout", "cancelled"]
    error: str = ""
    cost: Cost = NO_COST


@frozen
class Note:
    """Why a layer did what it did.

    Attributes:
        layer: The layer's name.
        text: One line for a person; the secrets of this process are struck out.
    """

    layer: str
    text: str = field(converter=redact)


@final
class Outcome(Struct, frozen=True):
    """An answer and what is known about it.

    Attributes:
        value: The answer itself.
        upstream: The upstream that answered, or ``None`` before it is known.
        via: The layers that served or shaped the answer, innermost first.
        as_of: The time for which the answer is valid, in seconds since the epoch. Ages are computed
            from it, never stored.
        expires_at: Seconds since the epoch until which the answer is fresh, or ``None`` when
            no layer has decided.
        tags: What the answer depends on, for :meth:`~argo_mw.Argo.invalidate`.
        versions: The versions that tags had before what depends on them was loaded, as far as a
            layer has recorded them; see :meth:`~argo_mw.store.TagVersions.extend`.
        lacks: The names of what a degraded answer had to do without, such as an operation that
            failed. What is made of it lacks the same, and lives for ``[argo] lacking_ttl`` at most.
        cost: What getting it cost this time; nothing when a layer served it.
        attempts: The attempts behind it.
        notes: Why layers did what they did.
    """

    value: object
    upstream: str | None = None
    via: tuple[str, ...] = ()
    as_of: float | None = None
    expires_at: float | None = None
    tags: frozenset[str] = frozenset()
    cost: Cost = NO_COST
    attempts: tuple[Attempt, ...] = ()
    notes: tuple[Note, ...] = ()
    versions: tuple[tuple[str, bytes, bytes], ...] = ()
    lacks: frozenset[str] = frozenset()

    def evolve(self, **changes: object) -> Outcome:
        """Return a copy with *changes* to its attributes."""
        return replace(self, **changes)

    def shaped_by(self, layer: str, note: str = "", **changes: object) -> Outcome:
        """Return a copy that names *layer* as having served or shaped it; *note* says why.

        *changes* are those to other attributes, as for :meth:`evolve`. The tag ``layer:NAME`` is
        added, so that rolling the layer back can invalidate what it served.
        """
        return replace(
            self,
            via=(*self.via, layer),
            tags=self.tags | {f"layer:{layer}"},
            notes=(*self.notes, Note(layer, note)) if note else self.notes,
            **changes,
        )

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        from argo_mw.base.html_table import html_grid, html_table

        attempts = [
            (one.upstream, one.status, f"{one.latency:.3f} s", one.error) for one in self.attempts
        ]
        return html_table(
            {
                "value": self.value,
                "upstream": self.upstream,
                "via": " → ".join(self.via),
                "as of": _moment(self.as_of),
                "fresh until": _moment(self.expires_at),
                "cost, USD": dollars(self.cost.usd) if self.attempts else None,
                "lacks": ", ".join(sorted(self.lacks)),
                "attempts": html_grid(("upstream", "status", "took", "error"), attempts)
                if attempts
                else None,
                "notes": html_grid(("layer", "why"), [(n.layer, n.text) for n in self.notes])
                if self.notes
                else None,
            }
        )

    def age(self, now: float) -> float:
        """Return the seconds between its ``as_of`` and *now*; 0 if that is unknown."""
        return 0.0 if self.as_of is None else max(0.0, now - self.as_of)


def _moment(seconds: float | None) -> str | None:
    """Return a moment in ISO 8601, UTC, to the second, whatever number it is."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(seconds)
