"""Marks: what a machine knows of a shared store, so that it notices a store that knows less.

The store counts the additions of each machine under a name of its own, in the same step as what
is added. What such a counter was seen to hold is remembered in the state directory: a store in
which it holds less was put back to an older state.
"""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from threading import get_ident
from urllib.parse import parse_qsl, urlsplit

from attrs import asdict, field, frozen, validators


@frozen
class Mark:
    """What was seen of a store.

    Attributes:
        epoch: The number of its epoch.
        witness: The counter that it keeps for this machine.
        count: The most that this was seen to hold in that epoch.
        at: When that was, in seconds since the epoch.
    """

    epoch: int = field(validator=validators.instance_of(int))
    witness: str = field(validator=validators.instance_of(str))
    count: int = field(default=0, validator=validators.instance_of(int))
    at: float = field(default=0.0, validator=validators.instance_of((int, float)))

    def merged(self, other: Mark | None) -> Mark:
        """Return both marks as one: in one epoch, with the *other*'s name for the machine."""
        if other is None or other == self:
            return self
        if other.epoch != self.epoch:
            return self if self.epoch > other.epoch else other
        same = other.witness == self.witness
        return self if same and self.count > other.count else other


class MarkFile:
    """The mark of a *part* of the store at *url*, for all processes that share *state_dir*."""

    def __init__(self, state_dir: Path, url: str, part: str = "") -> None:
        self._path = state_dir / f"epoch-{store_name(url, part)}.json"

    def read(self) -> Mark | None:
        """Return what was seen last, or ``None``."""
        try:
            return Mark(**json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    def write(self, mark: Mark) -> Mark:
        """Remember *mark* besides what others have remembered; return what is known by all.

        Raises:
            OSError: It cannot be written.
        """
        kept = self.read()
        known = mark.merged(kept)
        if known != kept:
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}.{get_ident()}")
            new.touch(0o600)
            new.write_text(json.dumps(asdict(known)))
            new.replace(self._path)
        return known


def new_witness(part: str = "") -> str:
    """Return the name of a counter in a *part* of the store, for a machine that has none."""
    return _witness(os.urandom(8).hex(), part)


def next_witness(witness: str, epoch: int, part: str) -> str:
    """Return the name of the counter in *epoch* of a machine that had *witness* before."""
    return _witness(blake2b(f"{witness} {epoch}".encode(), digest_size=8).hexdigest(), part)


def _witness(name: str, part: str) -> str:
    name = f"argo:witness:{name}"
    return f"{name}:{{{part}}}" if part else name


def store_name(url: str, part: str = "") -> str:
    """Return a name of a *part* of the store at *url*.

    It holds no secret, and nothing that may change.
    """
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    chosen = [pair for pair in parse_qsl(parts.query) if pair[0] in ("prefix", "db")]
    text = repr((parts.scheme, where, parts.path, chosen, *([part] if part else [])))
    return blake2b(text.encode(), digest_size=16).hexdigest()
