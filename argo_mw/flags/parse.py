"""Rules from what people write: ``"on"``, ``"10%"``, ``{percent = 10, by = "tenant"}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import cast, get_args

from argo_mw.base.errors import ConfigError
from argo_mw.base.secret import HiddenText
from argo_mw.flags.model import Rule, State, Unit

_PERCENT = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)\s{0,20}%(?:\s*by\s+(\w+))?")
_KEYS = ("state", "percent", "by", "subjects", "killed", "rolled_back", "only_holds")
_MAX_SHOWN = 12
_FORM = "'on', 'off', 'shadow', '10%', '10% by tenant', or {percent = 10, by = 'subject'}"


def parse_rule(name: str, written: object) -> Rule:
    """Return the rule for flag *name* that *written* means.

    Raises:
        ConfigError: It is none; the message names the flag and the possible forms.
    """
    try:
        return _parse(written)
    except (ValueError, TypeError) as error:
        msg = f"flag {name!r} cannot be set to {_shown(written)}: {error}. Write {_FORM}"
        raise ConfigError(msg) from None


def format_rule(rule: Rule) -> str:
    """Return *rule* as text for people."""
    if rule.killed:
        return "killed"
    if rule.rolled_back:
        return f"rolled back: {rule.rolled_back}"
    text = rule.state if rule.percent is None else f"{rule.percent:g}% by {rule.by}"
    subjects = ", ".join(f"{s}={'on' if on else 'off'}" for s, on in sorted(rule.subjects.items()))
    return f"{text} ({subjects})" if subjects else text


def dump_rule(rule: Rule) -> dict[str, object]:
    """Return *rule* as plain data that :func:`parse_rule` reads back."""
    holds = {"only_holds": True} if rule.only_holds else {}
    return {
        "state": rule.state,
        "percent": rule.percent,
        "by": rule.by,
        "subjects": {subject: "on" if on else "off" for subject, on in rule.subjects.items()},
        "killed": rule.killed,
        "rolled_back": rule.rolled_back,
        **holds,
    }


def _parse(written: object) -> Rule:
    if isinstance(written, bool):
        return Rule("on" if written else "off")
    if isinstance(written, str):
        return _parse_text(written.strip())
    if isinstance(written, Mapping):
        return _parse_table(written)
    msg = f"it is a {type(written).__name__}"
    raise TypeError(msg)


def _parse_text(text: str) -> Rule:
    if text in get_args(State):
        return Rule(cast(State, text))
    if match := _PERCENT.fullmatch(text):
        return Rule("off", percent=float(match[1]), by=_unit(match[2] or "subject"))
    msg = "it is none of the known forms"
    raise ValueError(msg)


def _parse_table(table: Mapping[str, object]) -> Rule:
    for key in table:
        if key not in _KEYS:
            msg = f"unknown key {key!r}"
            raise ValueError(msg)
    percent = _percent(table.get("percent"))
    subjects = table.get("subjects", {})
    if not isinstance(subjects, Mapping):
        msg = "subjects must be a table of SUBJECT = 'on' or 'off'"
        raise TypeError(msg)
    state = str(table.get("state", "on" if percent is None else "off"))
    if state not in get_args(State):
        msg = f"state is {_shown(state)}"
        raise ValueError(msg)
    return Rule(
        state=cast(State, state),
        percent=percent,
        by=_unit(str(table.get("by", "subject"))),
        subjects={str(s): _is_on(str(s), v) for s, v in subjects.items()},
        killed=_bool(table, "killed"),
        rolled_back=str(table.get("rolled_back") or ""),
        only_holds=_bool(table, "only_holds"),
    )


def _bool(table: Mapping[str, object], key: str) -> bool:
    written = table.get(key, False)
    if not isinstance(written, bool):
        msg = f"{key} is {_shown(written)}, not true or false"
        raise TypeError(msg)
    return written


def _percent(written: object) -> float | None:
    if isinstance(written, HiddenText):  # all that the environment can hold is text
        with suppress(ValueError):
            return float(written)
    if written is not None and (isinstance(written, bool) or not isinstance(written, (int, float))):
        msg = f"percent is {_shown(written)}"
        raise TypeError(msg)
    return None if written is None else float(written)


def _shown(written: object) -> str:
    """Return *written* for an error: long texts may be secrets at the wrong key."""
    if isinstance(written, str):
        return repr(written) if len(written) <= _MAX_SHOWN else "a longer text"
    return (
        repr(written)
        if written is None or isinstance(written, (int, float))
        else (f"a {type(written).__name__}")
    )


def _is_on(subject: str, written: object) -> bool:
    if written not in (True, False, "on", "off"):
        msg = f"subject {subject!r} is {_shown(written)}, not 'on' or 'off'"
        raise ValueError(msg)
    return written in (True, "on")


def _unit(by: str) -> Unit:
    if by not in get_args(Unit):
        msg = f"by is {_shown(by)}, not one of {', '.join(get_args(Unit))}"
        raise ValueError(msg)
    return cast(Unit, by)
