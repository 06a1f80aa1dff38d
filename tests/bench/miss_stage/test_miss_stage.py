"""Where the time of a miss goes is attributed to whose code executes, and drawn without scripts."""

from __future__ import annotations

import time
from collections import Counter
from xml.etree import ElementTree as ET

from argo_mw.plugin import Codecs
from tests.bench.miss_stage.flame import svg
from tests.bench.miss_stage.samples import by_layer, sampling

STACKS = Counter(
    {
        ("asyncio",): 1,
        ("asyncio", "app:call", "cache:find"): 6,
        ("asyncio", "app:call", "cache:find", "store:<get>"): 3,
    }
)


def test_time_counts_for_the_innermost_part() -> None:
    assert {"cache": 0.6, "store": 0.3, "asyncio": 0.1} == by_layer(STACKS)


def test_a_flame_graph_shows_shares_as_text_and_has_no_scripts() -> None:
    drawn = ET.fromstring(svg(STACKS))
    titles = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert [
        "asyncio, 100.0 %",
        "app call, 90.0 %",
        "cache find, 90.0 %",
        "store <get>, 30.0 %",
    ] == titles
    assert {"svg", "g", "title", "rect", "text"} == {
        one.tag.rpartition("}")[2] for one in drawn.iter()
    }


def test_what_executes_is_sampled_below_the_event_loop() -> None:
    codecs, end = Codecs(), time.process_time() + 0.3
    with sampling() as stacks:
        while time.process_time() < end:
            codecs.encode({"prices": list(range(1_000))})
    assert by_layer(stacks).get("store", 0.0) > 0.2
    assert all("asyncio" == stack[0] for stack in stacks)
