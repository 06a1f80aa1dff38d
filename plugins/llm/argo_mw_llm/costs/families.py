"""Families: one name for a model that vendors, clouds and snapshots name differently."""

from __future__ import annotations

import re
from functools import lru_cache

_VENDOR = re.compile(r"^(?:[a-z]+(?:-[a-z]+)*\.)+(?=[a-z])")
"""Prefixes of a cloud, such as ``us.anthropic.``; unlike versions such as ``glm-5.3``, they contain
no digits."""
_SUFFIX = re.compile(
    r"""(?: (?<=\d)-v\d+ | -v\d+:\d+  # versions of clouds
          | (?s::.*) | (?s:@.*) | \[[^\[\]]*\]  # variants, lengths of context
          | -20\d\d-?[01]\d-?[0-3]\d        # 20251001, 2025-10-01
          | -(?:0[1-9]|1[0-2])[0-3]\d       # 0813
          | -2\d(?:0[1-9]|1[0-2])(?:[0-3]\d)?  # 2507, 260910
          | -latest | -maas
          )$""",
    re.VERBOSE,
)
_MAX_NAME = 200
_ROOT = re.compile(r"[a-z]*")


@lru_cache(maxsize=4096)
def family_of(model: str) -> str:
    """Return the name of *model* without vendors, dates and versions of clouds: its family.

    ``us.anthropic.claude-haiku-4-5-20251001-v1:0`` and ``anthropic/claude-haiku-4-5`` are both
    ``claude-haiku-4-5``.
    """
    name = model.strip().lower()
    if len(name) > _MAX_NAME:
        return name
    name = _VENDOR.sub("", name.rsplit("/", 1)[-1])
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
    return name


def families_of(model: str) -> tuple[str, ...]:
    """Return the families of *model*: its own, and that of the model that it was tuned from.

    ``ft:gpt-4.1-2025-04-14:acme::id`` was made of ``gpt-4.1``, and has a price of its own.
    """
    tuned, _, rest = model.strip().lower().rpartition("/")[2].partition(":")
    own = family_of(model)
    return (own, family_of(rest.partition(":")[0])) if tuned == "ft" else (own,)


def root_of(model: str) -> str:
    """Return the word that the names of a vendor's models begin with, such as ``claude``."""
    found = _ROOT.match(family_of(model))
    return found.group() if found else ""
