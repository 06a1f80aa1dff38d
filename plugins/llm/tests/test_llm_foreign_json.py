"""JSON that a model or a provider wrote is read strictly, or refused with a reason."""

from __future__ import annotations

import pytest

from argo_mw_llm.answers import Completion, Malformed, Opinion, Usage
from argo_mw_llm.bodies.foreign_json import read_json
from argo_mw_llm.costs.usage import parse
from argo_mw_llm.providers.failures import from_status
from argo_mw_llm.views import read_opinion

DEEP = "[" * 100_000


def opinion_in(text: str) -> Opinion | Malformed:
    """Return what is read in a model's reply."""
    return read_opinion(Completion(text, "m", "end", Usage()))


@pytest.mark.parametrize(
    "text",
    [
        '{"action":"BUY","action":"SELL","confidence":0.9,"reason":"x"}',
        '{"action":"BUY","confidence":0.1,"reason":"x","confidence":0.9}',
        '{"action":"BUY","act\\u0069on":"SELL","confidence":0.9,"reason":"x"}',
        '{"action":"BUY","confidence":0.9,"reason":{"a":1,"a":2}}',
    ],
)
def test_a_reply_that_states_a_key_twice_is_refused(text: str) -> None:
    refused = opinion_in(text)
    assert isinstance(refused, Malformed)
    assert "twice" in refused.why


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_in_json_is_refused(number: str) -> None:
    refused = opinion_in(f'{{"action":"BUY","confidence":{number},"reason":"x"}}')
    assert isinstance(refused, Malformed)


def test_a_deep_nest_is_refused_wherever_it_is_read() -> None:
    assert isinstance(opinion_in(DEEP), Malformed)
    assert "an answer that is not JSON" in str(from_status("glm", 500, DEEP.encode(), {}))
    for read in (read_json, parse):
        with pytest.raises(ValueError, match="too deeply"):
            read(DEEP.encode())


def test_a_reason_can_be_written_down() -> None:
    opinion = opinion_in('{"action":"BUY","confidence":0.5,"reason":"a \\ud800 b\\nc"}')
    assert isinstance(opinion, Opinion)
    assert "a ? b c" == opinion.reason
