"""The order of layers: where each stands in the chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from attrs import frozen

from argo_mw.base.errors import ConfigError
from argo_mw.base.suggest import suggest
from argo_mw.model.layer import FAN_OUT, SLOTS, Layer


@frozen
class Order:
    """Layers from the caller inwards, on both sides of the point where upstreams are chosen.

    Attributes:
        outer: Layers that see a call before it is bound to an upstream, ``race`` among them.
        inner: Layers that see it bound.
    """

    outer: tuple[Layer, ...]
    inner: tuple[Layer, ...]


def order(layers: Iterable[Layer]) -> Order:
    """Return *layers*, each in its place.

    Named slots keep their own order; ``before`` and ``after`` place the rest, as far out as they
    allow; ties are broken by name, so that the same layers always make the same chain.

    Raises:
        ConfigError: Two layers share a name or slot, one names or requires an unknown layer,
            or their places form a cycle; the message says what to change.
    """
    named = _by_name(layers)
    positions = _slots(named)
    graph: dict[str, set[str]] = {place: set() for place in (*SLOTS, *named)}
    for outer, inner in pairwise(SLOTS):
        graph[inner].add(outer)
    wishes: dict[tuple[str, str], str] = {}
    for layer in named.values():
        own = _own_place(layer)
        for other in layer.before:
            inner = _place(layer, other, positions)
            graph[inner].add(own)
            wishes[own, inner] = f"layer {layer.name!r} asks to stand before {other!r}"
        for other in layer.after:
            outer = _place(layer, other, positions)
            graph[own].add(outer)
            wishes[outer, own] = f"layer {layer.name!r} asks to stand after {other!r}"
        _check_requirements(layer, named)
    by_place = {_own_place(layer): layer for layer in named.values()}
    places = _sorted(graph, wishes)
    inside = places.index(FAN_OUT) + 1
    return Order(
        tuple(by_place[place] for place in places[:inside] if place in by_place),
        tuple(by_place[place] for place in places[inside:] if place in by_place),
    )


def _by_name(layers: Iterable[Layer]) -> dict[str, Layer]:
    named: dict[str, Layer] = {}
    for layer in layers:
        if layer.name in named:
            msg = f"two layers are called {layer.name!r}; rename one, or block its plugin"
            raise ConfigError(msg)
        named[layer.name] = layer
    return named


def _slots(named: dict[str, Layer]) -> dict[str, str]:
    """Return the place of every name that ``before`` and ``after`` may use."""
    taken: dict[str, str] = {}
    for layer in named.values():
        if not layer.slot:
            continue
        if layer.slot not in SLOTS:
            hint = suggest(layer.slot, SLOTS)
            msg = f"layer {layer.name!r} asks for slot {layer.slot!r}, which does not exist: {hint}"
            raise ConfigError(msg)
        if layer.slot in taken:
            msg = (
                f"layers {taken[layer.slot]!r} and {layer.name!r} both ask for slot "
                f"{layer.slot!r}; switch one of them off under [flags], or block its plugin"
            )
            raise ConfigError(msg)
        taken[layer.slot] = layer.name
    return {slot: slot for slot in SLOTS} | {n: _own_place(layer) for n, layer in named.items()}


def _own_place(layer: Layer) -> str:
    return layer.slot or layer.name


def _place(layer: Layer, other: str, positions: dict[str, str]) -> str:
    if other not in positions:
        hint = suggest(other, positions)
        msg = f"layer {layer.name!r} stands relative to {other!r}, which does not exist: {hint}"
        raise ConfigError(msg)
    return positions[other]


def _check_requirements(layer: Layer, named: dict[str, Layer]) -> None:
    for required in layer.requires:
        if required not in named:
            msg = (
                f"layer {layer.name!r} requires {required!r}, which is not in the chain; install "
                f"and switch on {required!r}, or switch {layer.name!r} off"
            )
            raise ConfigError(msg)


def _sorted(graph: dict[str, set[str]], wishes: Mapping[tuple[str, str], str]) -> Sequence[str]:
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise _cycle(error.args[1], wishes) from None
    ordered: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready.extend(sorter.get_ready())
        ready.sort(key=lambda place: (SLOTS.index(place) if place in SLOTS else -1, place))
        place = ready.pop(0)
        ordered.append(place)
        sorter.done(place)
    return ordered


def _cycle(places: Sequence[str], wishes: Mapping[tuple[str, str], str]) -> ConfigError:
    """Return the error for *places* that form a cycle, each outside of the next.

    Args:
        places: The places, the first once more at the end.
        wishes: Which layer asks for a place outside of another.
    """
    steps = list(pairwise(places))
    why = [wishes[step] for step in steps if step in wishes]
    slots = [
        f"{outer} stands outside of {inner}"
        for outer, inner in steps
        if (outer, inner) not in wishes
    ]
    if slots:
        why.append(f"the slots have a fixed order ({', '.join(slots)})")
    msg = (
        f"the places of layers form a cycle: {' → '.join(places)}: {'; '.join(why)}; drop one of "
        "their before/after"
    )
    return ConfigError(msg)
