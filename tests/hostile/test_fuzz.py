"""Whatever comes from outside ends in an answer or in one clear error, and soon.

A thousand inputs of each kind in ``make test``, a hundred thousand in ``make soak``. The inputs are
what is expected, with pieces cut, doubled, exchanged and put in, and what looks like nothing known.
"""

from __future__ import annotations

import asyncio
import tomllib
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argo_mw import ConfigError, UpstreamError
from argo_mw.config import parse
from argo_mw.flags.parse import parse_rule
from argo_mw.plugin import BadParameter, Call, Context, Outcome
from argo_mw.store import Codecs, Envelope, Undecodable
from argo_mw.testing import FakeClock
from argo_mw_llm.answers import Completion, Malformed, Opinion, RawResponse, Usage
from argo_mw_llm.bodies.streams import Ending
from argo_mw_llm.costs.usage import read_body, read_events
from argo_mw_llm.providers.failures import ProviderFailed, from_status
from argo_mw_llm.providers.prepare import collapse
from argo_mw_llm.views import read_opinion
from argo_mw_llm.wires import wire_named
from argo_mw_market.alpaca import Alpaca
from argo_mw_market.alphavantage import AlphaVantage
from argo_mw_market.config import MarketConfig
from argo_mw_market.hours import DAY, AgeLimits
from argo_mw_market.http import HttpReply
from argo_mw_market.massive import Massive
from argo_mw_market.operations import bars, recent_news
from argo_mw_market.symbols import Symbol, read_symbol
from argo_mw_market.timeframes import Timeframe, read_timeframe
from argo_mw_market.vendor import Vendor
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.factory import policy_of
from argo_mw_similarity.language.lexicon import load as load_lexicon
from argo_mw_similarity.language.reading import Reading, read
from argo_mw_similarity.language.text import flattened
from argo_mw_similarity.prompt import Prompts
from argo_mw_similarity.search.finder import MAX_CHARACTERS
from tests.hostile.growth import HELD, seconds

REPRODUCIBLE = settings.default is not None and settings.default.derandomize
EXAMPLES = 1_000 if REPRODUCIBLE else 100_000
"""Inputs of each kind; several tests of one kind share them."""


def fuzzed(share: int = 1) -> settings:
    """Return the settings of a test that gets one in *share* of the inputs of its kind."""
    return settings(
        max_examples=EXAMPLES // share, deadline=None, suppress_health_check=list(HealthCheck)
    )


MULTIPLE = 100
"""How many times its bytes an input takes at most in memory: each byte may begin a container."""
NOW = 1_700_000_000

PIECES = (
    b"", b"[", b"{", b"]", b"}", b'"', b",", b":", b"\\", b"\\ud800", b"null", b"true", b"NaN", b"-",
    b"1e999", b"-0", b"9" * 25, b"1e-400", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b" ",
    b"\r", b"\n\n", b"\x1b[2J", "\u202e".encode(), "\u2028".encode(), b"[" * 3000, b'{"a":' * 3000,
    b"data: ", b"<html>", b"AAPL", b"0000-00-00", b"99999-12-31T99:99:99Z", b"1e400", b"[[],", b"{},",
)  # fmt: skip


_LONGEST = 20_000
"""Bytes of an input; that longer ones take no more time a byte is for `test_growth`."""


def _edited(seed: bytes, edits: Sequence[tuple[int, int, bytes, int]]) -> bytes:
    for start, length, piece, times in edits:
        at = start % (len(seed) + 1)
        seed = seed[:at] + piece * times + seed[at + length :]
    return seed[:_LONGEST]


def like(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for bytes like *seeds*, and for some like nothing."""
    edit = st.tuples(
        st.integers(0, 4000),
        st.integers(0, 40),
        st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)),
        st.sampled_from([0, 1, 1, 1, 2, 50]),
    )
    edited = st.builds(_edited, st.sampled_from(seeds), st.lists(edit, max_size=4))
    return st.one_of(edited, st.binary(max_size=60))


def within_a_moment(action: Callable[[], object]) -> None:
    """Fail if *action* takes longer than a loop may be held."""
    taken = seconds(action)
    assert taken < HELD, f"{taken:.3f} s"


# -- vendors -------------------------------------------------------------------------------------


class Replies:
    """Stands for the connections to a vendor; every request gets the same reply."""

    max_decoded_bytes = 2**20
    url = "https://vendor.invalid"

    def __init__(self) -> None:
        self.reply = HttpReply(200, {}, b"")
        self._pages = 0

    async def get(self, path: str, *_: object) -> HttpReply:
        self._pages += 1
        return self.reply

    def path_of(self, link: str) -> str:
        return "/next"


class Charges:
    """Stands for the context of a vendor."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)

    async def charge_extra(self, call: Call) -> None:
        return


BAR = b'{"t":1699999200000,"o":1,"h":2,"l":0.5,"c":1.5,"v":10,"vw":1,"n":3}'
ALPACA_BAR = b'{"t":"2023-11-14T20:00:00Z","o":1,"h":2,"l":0.5,"c":1.5,"v":10}'
SEEDS: dict[str, tuple[bytes, ...]] = {
    "massive": (
        b'{"status":"OK","results":[' + BAR + b"," + BAR + b"]}",
        b'{"status":"OK","results":[' + BAR + b'],"next_url":"https://x/v2/a?cursor=b"}',
        b'{"status":"ERROR","error":"Unknown API Key"}',
        b'{"status":"NOT_AUTHORIZED","message":"You are not entitled"}',
    ),
    "alpaca": (
        b'{"bars":{"AAPL":[' + ALPACA_BAR + b"," + ALPACA_BAR + b']},"next_page_token":null}',
        b'{"bars":{"AAPL":[' + ALPACA_BAR + b']},"next_page_token":"QUFQTA=="}',
        b'{"bars":null}',
        b'{"code":42210000,"message":"invalid symbol: AAPL"}',
    ),
    "alphavantage": (
        (
            b'{"Meta Data":{},"Time Series (Daily)":{"2023-11-14":{"1. open":"1","2. high":"2",'
            b'"3. low":"0.5","4. close":"1.5","5. volume":"10"}}}'
        ),
        b'{"Note":"Our standard API call frequency is 5 calls per minute"}',
        b'{"Information":"premium"}',
    ),
    "alpaca news": (
        (
            b'{"news":[{"headline":"h","created_at":"2023-11-14T20:00:00Z","symbols":["AAPL"],'
            b'"url":"u","source":"s","summary":"t"}],"next_page_token":null}'
        ),
    ),
    "alphavantage news": (
        (
            b'{"feed":[{"title":"t","time_published":"20231114T200000","ticker_sentiment":[{"ticker":'
            b'"AAPL","relevance_score":"0.5","ticker_sentiment_score":"0.1"}]}]}'
        ),
    ),
}
BARS = {"symbol": "AAPL", "timeframe": "1Day", "days": 30}
NEWS = {"symbol": "AAPL", "days": 7, "limit": 10}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def vendors() -> dict[str, tuple[Vendor, Replies]]:
    config, context, ages = MarketConfig(), cast("Context", Charges()), AgeLimits(5 * DAY, DAY)
    made: dict[str, Vendor] = {
        "massive": Massive(config.massive, context, ages),
        "alpaca": Alpaca(config.alpaca, context, ages),
        "alphavantage": AlphaVantage(config.alphavantage, context, ages),
    }
    found = {}
    for name, vendor in made.items():
        replies = Replies()
        vendor.http = cast("Any", replies)
        found[name] = (vendor, replies)
    return found


@pytest.mark.hypothesis
@pytest.mark.parametrize("kind", SEEDS)
def test_a_vendor_s_body_is_an_answer_or_one_error(
    kind: str, vendors: dict[str, tuple[Vendor, Replies]], loop: asyncio.AbstractEventLoop
) -> None:
    name, _, news = kind.partition(" ")
    vendor, replies = vendors[name]
    parameters = NEWS if news else BARS
    call = Call(recent_news if news else bars, parameters, "key", "AAPL")

    async def fetch() -> None:
        try:
            answer = await vendor.fetch(call)  # type: ignore[attr-defined]
        except UpstreamError as error:
            said = str(error)
        else:
            assert isinstance(answer, Outcome)
            return
        assert said.isprintable()
        assert len(said) <= 1000

    @fuzzed(5)
    @given(st.sampled_from([200, 200, 200, 200, 400, 403, 429, 500]), like(*SEEDS[kind]))
    def each(status: int, body: bytes) -> None:
        replies.reply = HttpReply(status, {}, body)
        within_a_moment(lambda: loop.run_until_complete(fetch()))

    each()


# -- models and providers ------------------------------------------------------------------------

OPINIONS = (
    b'{"action":"BUY","confidence":0.7,"reason":"up"}',
    b'```json\n{"action":"HOLD","confidence":1,"reason":"x"}\n```',
    b'{"action":"SELL","confidence":0.7,"reason":"up","action":"BUY"}',
)
BODIES = (
    (
        b'{"id":"x","model":"glm-5.3","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":5}}'
    ),
    (
        b'{"id":"x","model":"c","type":"message","content":[{"type":"text","text":"hi"}],"stop_reason":'
        b'"end_turn","usage":{"input_tokens":5,"output_tokens":5}}'
    ),
    b'{"error":{"code":"1113","message":"no money","type":"x"}}',
)
EVENTS = (
    (
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"usage":'
        b'{"prompt_tokens":5,"completion_tokens":5}}\n\ndata: [DONE]\n\n'
    ),
    (
        b'event: message_start\ndata: {"type":"message_start","message":{"model":"c","usage":'
        b'{"input_tokens":5}}}\n\nevent: message_delta\ndata: {"type":"message_delta","delta":'
        b'{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}\n\nevent: message_stop\ndata: {}\n\n'
    ),
)


@fuzzed(3)
@given(like(*OPINIONS))
def test_a_model_s_reply_is_an_opinion_or_says_why_not(reply: bytes) -> None:
    text = reply.decode("utf-8", "replace")

    def reads() -> None:
        opinion = read_opinion(Completion(text, "m", "end", Usage()))
        assert isinstance(opinion, Opinion | Malformed)
        if isinstance(opinion, Opinion):
            assert 0.0 <= opinion.confidence <= 1.0
            opinion.reason.encode()

    within_a_moment(reads)


WIRES = ("anthropic", "chat", "responses", "embeddings")


@fuzzed(3)
@given(like(*BODIES), st.sampled_from(WIRES), st.sampled_from([200, 400, 429, 500]))
def test_a_provider_s_body_is_read_or_refused(body: bytes, wire: str, status: int) -> None:
    def reads() -> None:
        assert isinstance(from_status("glm", status, body, {}), ProviderFailed)
        assert isinstance(RawResponse(status, (), body).text, str)
        try:
            usage, _, _ = read_body(wire_named(wire), body)
        except ValueError:
            return
        assert usage is None or 0 <= usage.prompt + usage.output <= 500_000_000

    within_a_moment(reads)


@fuzzed(3)
@given(like(*EVENTS), st.sampled_from(WIRES))
def test_events_are_read_as_far_as_they_can_be(raw: bytes, wire: str) -> None:
    within_a_moment(lambda: read_events(wire_named(wire), raw, Ending("m")))


# -- stored values -------------------------------------------------------------------------------

STORE = Codecs(Envelope(max_bytes=2**20))
KEPT = [
    STORE._body(value)
    for value in (
        {"a": [1, 2.5, None, True, b"x", "text"], "b": {1, 2}, "c": (1,)},
        pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]}, index=pd.date_range("2024", periods=2)),
        pd.Series([1, 2], dtype="Int64"),
        pd.Series(pd.Categorical(["a", "b"])),
        np.arange(4.0).reshape(2, 2),
        [2**80, 1 + 2j, pd.Timestamp("2024-01-01", tz="UTC"), pd.NaT],
    )
]


@fuzzed()
@given(like(*KEPT), st.booleans())
def test_a_stored_value_is_decoded_or_is_a_miss(body: bytes, wrapped: bool) -> None:
    data = STORE.envelope.wrap(body, "k") if wrapped else body

    def reads() -> None:
        STORE.decode(data, "k")

    within_a_moment(reads)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd" + (2**20 - 5).to_bytes(4, "big") + b"\x90" * (2**20 - 5),
        b"\xdd" + (2**20 - 5).to_bytes(4, "big") + b"\x80" * (2**20 - 5),
        b"\xdd" + (2**20 - 5).to_bytes(4, "big") + b"\xa0" * (2**20 - 5),
    ],
    ids=["lists", "dicts", "texts"],
)
def test_a_stored_value_takes_a_bounded_multiple_of_its_bytes(body: bytes) -> None:
    data = STORE.envelope.wrap(body, "k")
    tracemalloc.start()
    try:
        assert not isinstance(STORE.decode(data, "k"), Undecodable)
        assert tracemalloc.get_traced_memory()[1] < MULTIPLE * len(body)
    finally:
        tracemalloc.stop()


# -- configuration -------------------------------------------------------------------------------

CONFIGURATION = (
    b'[argo]\nshared = "memory://"\ntenant = "x"\nlacking_ttl = 5.0\n[flags]\nrace = "10%"\n',
    b'[operations.bars]\ntimeout = 5\nupstreams = ["massive"]\n[upstreams.massive]\nper_day = 3\n',
    b'[plugins.llm]\nprepare = ["whitespace"]\n[plugins.llm.claude]\nkey = "${HOME}"\n',
    b'flags = {race = {percent = 10, by = "tenant"}}\n[argo]\nencryption_key = ["a", "b"]\n',
)


@fuzzed(2)
@given(like(*CONFIGURATION))
def test_a_configuration_is_taken_or_refused_with_a_reason(content: bytes) -> None:
    try:
        table = tomllib.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return

    def reads() -> None:
        with suppress(ConfigError):
            parse(table)

    within_a_moment(reads)


@fuzzed(2)
@given(
    st.one_of(st.text(max_size=40), like(b"10% by tenant", b"on").map(lambda b: b.decode("latin")))
)
def test_a_flag_is_a_rule_or_refused(text: str) -> None:
    def reads() -> None:
        with suppress(ConfigError):
            parse_rule("race", text)

    within_a_moment(reads)


# -- symbols and prompts -------------------------------------------------------------------------

SYMBOLS = (
    b"AAPL",
    b"BRK.B",
    b"BTC-USD",
    b"X:BTCUSD",
    b"BTC/USDT:USDT",
    b"ES=F",
    b"/ESU6",
    b"7203.T",
)


@fuzzed()
@given(st.one_of(st.text(max_size=30), like(*SYMBOLS).map(lambda b: b.decode("utf-8", "replace"))))
def test_a_symbol_is_read_or_refused(text: str) -> None:
    def reads() -> None:
        for function, kind in ((read_symbol, Symbol), (read_timeframe, Timeframe)):
            with suppress(BadParameter):
                assert isinstance(function(text), kind)

    within_a_moment(reads)


PROMPTS = (
    b"What did AAPL's revenue do in Q3 2024 vs. Q3 2023, in %?",
    b"Isn't it true that rates rose by 25bp, and the S&P 500 fell?",
    b"```python\nprint(1)\n```\nExplain   this.\n\n\n\n- a\n- b\n",
)
LEXICON = load_lexicon()
POLICY = policy_of(SimilarityConfig(), LEXICON, {})
READER = Prompts(frozenset({"now", "today"}))
KNOWN = [read(prompt.decode(), LEXICON) for prompt in PROMPTS]


@fuzzed()
@given(
    st.one_of(st.text(max_size=200), like(*PROMPTS).map(lambda b: b.decode("utf-8", "replace"))),
    st.sampled_from(KNOWN),
)
def test_a_prompt_is_prepared_and_compared(text: str, known: Reading) -> None:
    def prepares() -> None:
        collapse(text)
        flattened(text)
        READER.momentary(text)

    within_a_moment(prepares)
    # What the layer compares is bounded; `test_growth` tries texts of the greatest length.
    short = text[: 200 if REPRODUCIBLE else MAX_CHARACTERS]
    readings: list[Reading] = []
    within_a_moment(lambda: readings.append(read(short, LEXICON)))
    within_a_moment(lambda: POLICY.judge(readings[0], known, 0.99))
