"""Usage: the tokens that answers report, read from their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from argo_mw_llm.bodies.foreign_json import read_json
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.wires import Read, Wire


def parse(content: bytes) -> object:
    """Return the JSON in *content*.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return read_json(content)  # slower, but accepts half surrogate pairs and NaN


def plain_counts(counts: object) -> object:
    """Return an SDK's object of counts as plain data, and any other value unchanged."""
    to_dict = getattr(counts, "to_dict", None)
    return to_dict() if callable(to_dict) else counts


def read_body(wire: Wire, content: bytes) -> Read:
    """Return usage, model and stop of a whole answer over *wire*.

    Raises:
        ValueError: It is damaged.
    """
    body = parse(content)
    if not isinstance(body, dict):
        msg = f"an answer over the wire {wire.name!r} is not a JSON object"
        raise ValueError(msg)  # noqa: TRY004 - the provider's doing, not the caller's
    return wire.read(body, content)


def read_events(wire: Wire, raw: bytes, ending: Ending) -> None:
    """Read model, stop and usage from the bytes of a stream over *wire* that has ended.

    Only the few events with these are decoded.
    """
    lines = lines_with(wire.marks, raw)
    for event in _decoded(line for line in lines if line.startswith(b"data:")):
        wire.read_event(event, ending)
    wire.finish(ending, raw)


def lines_with(marks: Sequence[bytes], raw: bytes) -> Iterator[bytes]:
    """Yield the lines of *raw* that contain one of *marks*.

    All of *raw* is searched for each mark, since checking each line takes three times as long.
    """
    begin, next_at = 0, {mark: raw.find(mark) for mark in marks}
    while found := [at for at in next_at.values() if at >= 0]:
        first = min(found)
        start = raw.rfind(b"\n", begin, first) + 1 or begin
        begin = raw.find(b"\n", first)
        begin = len(raw) if begin < 0 else begin
        # A line may also end with a single carriage return.
        lines = raw[start:begin].splitlines()
        yield from (line for line in lines if any(mark in line for mark in marks))
        for mark, at in next_at.items():
            if 0 <= at < begin:
                next_at[mark] = raw.find(mark, begin)


def _decoded(lines: Iterable[bytes]) -> Iterable[Mapping[str, object]]:
    for line in lines:
        try:
            event = read_json(line[5:])
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
