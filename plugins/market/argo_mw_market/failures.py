"""Failures: the meaning of a vendor's error, and what to do about it.

Each vendor's module has a table of rules, ``RULES``, such as that in ``alpaca.py``; the first rule
that fits decides. ``docs/reference/vendor-errors.md`` shows the tables, and a test holds the two
together.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from attrs import field, frozen

from argo_mw.plugin import Action, NotFound, UpstreamError, redact

TOO_MANY = 429
_MAX_TEXT = 200
MAX_FOREIGN = 100_000
"""Characters of an error that are looked at: a notice may be as long as any answer."""
_MAX_READ = 20_000
"""Characters of an error that are read: an HTML page says what happened near its beginning."""
_MARKUP = re.compile("<[^<>]*>")


def _several(statuses: int | Container[int]) -> Container[int]:
    return (statuses,) if isinstance(statuses, int) else statuses


def _in_any_case(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


@frozen
class ErrorRule:
    """The meaning of one kind of error.

    Attributes:
        statuses: The HTTP statuses, or a single one.
        text: A pattern that occurs in the error's text, in whatever case; "" fits all.
        action: What to do.
        meaning: Its meaning and its remedy, for people.
        wait: Seconds to wait where the vendor does not say.
        as_status: The status to report where the vendor's own says nothing.
        missing: Whether what was asked for does not exist.
    """

    statuses: Container[int] = field(converter=_several)
    text: re.Pattern[str] = field(converter=_in_any_case)
    action: Action
    meaning: str
    wait: float | None = None
    as_status: int | None = None
    missing: bool = False

    def fits(self, status: int, text: str) -> bool:
        """Return whether an error is of this kind."""
        return status in self.statuses and self.text.search(text) is not None


BAD_GATEWAY = ErrorRule(range(500, 600), "", Action.RETRY, "it has a fault of its own for now")
UNKNOWN = ErrorRule(range(1000), "", Action.SWITCH, "this answer is not known to this client")


@frozen
class Failure:
    """An error as a vendor sent it.

    Attributes:
        status: The HTTP status.
        text: Its text.
        wait: Seconds after which the vendor allows another request, where it says so.
    """

    status: int
    text: str
    wait: float | None = None


def judge(vendor: str, rules: Sequence[ErrorRule], failure: Failure) -> UpstreamError:
    """Return the error to raise for *failure*."""
    text = _in_short(failure.text)
    rule = next(r for r in (*rules, BAD_GATEWAY, UNKNOWN) if r.fits(failure.status, text))
    shown = text if text.startswith(str(failure.status)) else f"{failure.status} {text}".strip()
    msg = f"upstream {vendor!r}: {rule.meaning} ({shown})"
    status = rule.as_status or failure.status
    if rule.missing:
        return NotFound(msg, upstream=vendor, action=rule.action, status=status)
    wait = rule.wait if failure.wait is None else failure.wait
    return UpstreamError(msg, upstream=vendor, action=rule.action, retry_after=wait, status=status)


def _in_short(text: str) -> str:
    """Return *text* on one line, without markup and control characters."""
    # Secrets are struck out before anything is cut: half of one would not be recognized.
    text = _MARKUP.sub(" ", redact(text[:MAX_FOREIGN])[:_MAX_READ])
    plain = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(plain.split())
    return line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}…"
