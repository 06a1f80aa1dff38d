"""Keys: where they come from, and the message when they are missing."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import field, frozen

from argo_mw.plugin import Secret

_MIN_LENGTH = 8
"""Letters of a key that is replaced in texts: a shorter one would blank out common words."""


@frozen
class Keys:
    """The keys of one vendor.

    Attributes:
        vendor: Its name, also that of its table.
        fields: The configured fields, each with the environment variables that stand in for it.
        found: The keys that were found, by field.
    """

    vendor: str
    fields: Mapping[str, tuple[str, ...]]
    found: Mapping[str, Secret] = field(repr=False)

    def reveal(self, name: str) -> str:
        """Return the key in field *name*, for the moment it is sent."""
        return self.found[name].reveal()

    def hide(self, text: str) -> str:
        """Return *text* without the keys that a vendor repeats in it."""
        for secret in self.found.values():
            key = secret.reveal()
            if len(key) >= _MIN_LENGTH:
                text = text.replace(key, "…")
        return text

    def missing(self) -> str | None:
        """Return the message about missing keys, or ``None`` when none is missing."""
        lacking = [name for name in self.fields if name not in self.found]
        if not lacking:
            return None
        variables = " and ".join(self.fields[name][0] for name in lacking)
        return (
            f"has no key: set {variables} in the environment, or {' and '.join(lacking)} in "
            f"[plugins.market.{self.vendor}]"
        )


def find_keys(
    vendor: str, fields: Mapping[str, tuple[str, ...]], configured: Mapping[str, Secret | None]
) -> Keys:
    """Return the keys of *vendor*: the configured ones, else those in the environment."""
    found: dict[str, Secret] = {}
    for name, variables in fields.items():
        candidates = (configured[name], *(Secret(os.environ.get(v, "")) for v in variables))
        secret = next((one for one in candidates if one), None)
        if secret is not None:
            found[name] = secret
    return Keys(vendor, fields, found)
