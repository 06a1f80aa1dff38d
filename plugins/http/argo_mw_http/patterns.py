"""Patterns of paths: ``/v2/stocks/{symbol}/bars``.

A named part stands for one segment, or for the part of it between a fixed beginning and a fixed
end. Patterns are compared from the start, so matching looks at each character of a path once.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import frozen

MAX_PATH: Final = 8192
"""Bytes of a path, percent-encoded, that is compared with patterns; longer ones match none."""

_REST: Final = ":path"
_RELATIVE: Final = (".", "..")


@frozen
class _Segment:
    """A segment of a pattern: fixed text, or a named part between two fixed texts."""

    before: str
    name: str = ""
    after: str = ""

    def match(self, text: str) -> str | None:
        """Return what the named part stands for in *text*, or ``None`` where it does not match."""
        if not self.name:
            return "" if text == self.before else None
        fixed = len(self.before) + len(self.after)
        if len(text) <= fixed or not text.startswith(self.before) or not text.endswith(self.after):
            return None
        return text[len(self.before) : len(text) - len(self.after)]


class PathPattern:
    """A pattern of paths.

    Args:
        text: As it is configured. ``{name}`` stands for a segment or a part of one,
            ``{name:path}`` at its end for one or more segments.

    Attributes:
        names: The names of its parts, in their order.
        shape: The pattern without the names of its parts: two of one shape match the same paths.

    Raises:
        ValueError: It is not a pattern.
    """

    def __init__(self, text: str) -> None:
        if not text.startswith("/") or "?" in text or "#" in text:
            msg = f"the path {text!r} is none: begin it with a slash, and leave out any query"
            raise ValueError(msg)
        self._segments = tuple(_segment(one, text) for one in text[1:].split("/"))
        self._takes_rest = self._segments[-1].name.endswith(_REST)
        if any(one.name.endswith(_REST) for one in self._segments[:-1]):
            msg = f"the path {text!r} has a part for several segments, which can only be the last"
            raise ValueError(msg)
        self.names = tuple(_plain(one.name) for one in self._segments if one.name)
        if len(set(self.names)) < len(self.names):
            msg = f"the path {text!r} has two parts of one name; give each its own"
            raise ValueError(msg)
        self.shape = tuple(
            (one.before, bool(one.name), one.after, one.name.endswith(_REST))
            for one in self._segments
        )

    def match(self, path: str) -> dict[str, str] | None:
        """Return what the named parts stand for in *path*, or ``None`` where it does not match.

        Args:
            path: A path as it is sent, percent-encoded. Of an encoded slash a part may hold more
                than one; steps such as ``..``, between encoded slashes too, and bytes that are not
                text match nothing.
        """
        if len(path) > MAX_PATH or not path.startswith("/"):
            return None
        texts = path[1:].split("/")
        here = len(self._segments)
        if len(texts) < here or (len(texts) > here and not self._takes_rest):
            return None
        decoded = [_decoded(text) for text in texts]
        found: dict[str, str] = {}
        for segment, text in zip(self._segments, decoded, strict=False):
            value = None if text is None or _is_relative(text) else segment.match(text)
            if value is None:
                return None
            if segment.name:
                found[_plain(segment.name)] = value
        if self._takes_rest:
            rest = [text for text in decoded[here - 1 :] if text is not None]
            if len(rest) < len(decoded) - here + 1 or any(_is_relative(text) for text in rest):
                return None
            found[self.names[-1]] = "/".join(rest)
        return found


def _segment(text: str, path: str) -> _Segment:
    before, brace, inside = text.partition("{")
    if not brace:
        if "}" in text:
            msg = f"the path {path!r} has a brace that is not opened"
            raise ValueError(msg)
        return _Segment(before)
    name, brace, after = inside.partition("}")
    if not brace or not _plain(name).isidentifier() or _plain(name).startswith("_"):
        msg = f"the path {path!r} has a part without a name: write it as {{symbol}}"
        raise ValueError(msg)
    if "{" in after or "}" in before or "}" in after:
        msg = f"the path {path!r} has two named parts in one segment; name the whole of it instead"
        raise ValueError(msg)
    if name.endswith(_REST) and (before or after):
        msg = f"the path {path!r} has a part for several segments that shares its segment"
        raise ValueError(msg)
    return _Segment(before, name, after)


def _is_relative(text: str) -> bool:
    """Return whether some service may take a step of *text*, decoded, for one such as ``..``."""
    if "." not in text:
        return False
    steps = text.replace("\\", "/").split("/")
    return any(step.partition(";")[0] in _RELATIVE for step in steps)


def _plain(name: str) -> str:
    return name.removesuffix(_REST)


def _decoded(text: str) -> str | None:
    """Return *text* without its percent-encoding, or ``None`` where it is not text."""
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return None
